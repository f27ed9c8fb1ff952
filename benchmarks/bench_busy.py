"""A call on two threads beside one busy process, relative to the same call on one thread (benchmarks/busy.py)."""

from .busy import run

POINTS = ("LSTM 100,16,128,128", "GRU 100,1,512,512")


class BesideABusyProcess:
    params = (POINTS, ("forward", "training"))
    param_names = ("point", "mode")
    unit = "times as long as on one thread"
    timeout = 120

    def track_total(self, point, mode):
        return run(point, mode, "one", seconds=2, threads=2)["total"]
