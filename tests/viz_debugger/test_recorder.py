"""The recorder: what it chooses, how many bytes it keeps, and what it measures during training."""

import io

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz


@pytest.fixture
def tape(rng):
    layer = rc.LSTM(3, 8, 2, seed=0)
    tape = layer.record(rng.standard_normal((30, 5, 3)), lengths=[30, 7, 30, 0, 12])
    tape.backward(rng.standard_normal((30, 5, 8)))
    return tape


def test_every_nth_update_is_recorded(tape):
    recorder = viz.Recorder(every=3)
    for _ in range(10):
        recorder.record(tape)
    assert [frame.update for frame in recorder.frames] == [1, 4, 7, 10]


def test_patterns_choose_the_names_that_are_recorded(tape):
    recorder = viz.Recorder(every=1, names=["l1.*", "*.f", "l1.f"], gradients="l0.[hc]")
    recorder.record(tape)
    (frame,) = recorder.frames
    assert sorted(frame.names()) == ["l0.f", *(f"l1.{g}" for g in "cfghio")]
    assert frame.grad.keys() == ["l0.h", "l0.c"]


def test_steps_rows_and_units_choose_parts_of_the_arrays(tape):
    recorder = viz.Recorder(every=1, names="*.c", gradients="*.c", steps=4, rows=[2, 4], units=3)
    recorder.record(tape)
    (frame,) = recorder.frames
    np.testing.assert_array_equal(frame["l1.c"], tape["l1.c"][::4][:, [2, 4]][:, :, :3])
    np.testing.assert_array_equal(frame.grad["l1.c"], tape.grad["l1.c"][::4][:, [2, 4]][:, :, :3])
    assert frame.steps.tolist() == list(range(0, 30, 4))
    assert frame.rows.tolist() == [2, 4]
    assert frame.units.tolist() == [0, 1, 2]
    assert frame.lengths.tolist() == [8, 3]  # of 30 and 12 steps: 0 4 … 28, and 0 4 8


def test_frames_own_their_memory(tape):
    recorder = viz.Recorder(every=1, names="*.f")
    recorder.record(tape)
    assert not np.shares_memory(recorder.frames[0]["l0.f"], tape["l0.f"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every: got 0, expected"),
        ({"steps": 1.5}, "steps: got 1.5, expected"),
        ({"names": [3]}, "names: got"),
        ({"limit": "much"}, "limit: got 'much', expected a number of bytes"),
        ({"limit": 0}, "limit: got 0"),
        ({"full": "burst"}, "full: got 'burst', expected one of 'thin', 'ring', 'stop'"),
        ({"live": "paper"}, "live: got 'paper', expected 'terminal', 'window'"),
    ],
)
def test_wrong_settings_are_refused_at_once(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        viz.Recorder(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": "*.x"}, r"names: got \['\*.x'\], expected patterns of l0.h"),
        ({"rows": [5]}, r"rows: got \[5\], expected whole numbers under 5"),
        ({"units": [0.5]}, "units: got"),
    ],
)
def test_names_rows_and_units_that_the_tape_lacks_are_refused(tape, options, message):
    with pytest.raises(ValueError, match=message):
        viz.Recorder(every=1, **options).record(tape)


FRAME = 30 * 5 * 8 * 4  # bytes of one name


@pytest.mark.parametrize("to_file", [False, True])
class TestBounds:
    @pytest.fixture
    def make(self, to_file, tmp_path):
        recorders = []

        def make(limit=10 * FRAME, **options):
            path = tmp_path / "a.run" if to_file else None
            recorders.append(viz.Recorder(path, every=1, names="l0.f", limit=limit, **options))
            return recorders[0]

        yield make
        recorders[0].close()

    def check_size(self, to_file, tmp_path):
        if to_file:
            assert (tmp_path / "a.run").stat().st_size <= 10 * FRAME
            assert not list(tmp_path.glob("*.part"))
            viz.Run(tmp_path / "a.run").verify()

    def test_thin_keeps_frames_evenly_over_the_run(self, tape, make, to_file, tmp_path):
        recorder = make()
        for update in range(1, 101):
            recorder.record(tape, loss=update)
            self.check_size(to_file, tmp_path)
        updates = [frame.update for frame in recorder.frames]
        assert updates[0] == 1
        assert recorder.every > 1
        assert set(np.diff(updates)) == {recorder.every}  # evenly over the run
        assert 100 - updates[-1] < recorder.every
        assert [frame.loss for frame in recorder.frames] == updates
        np.testing.assert_array_equal(recorder.frames[-1]["l0.f"], tape["l0.f"])

    def test_ring_keeps_the_newest_frames(self, tape, make, to_file, tmp_path):
        recorder = make(full="ring")
        for update in range(1, 101):
            recorder.record(tape, loss=update)
            self.check_size(to_file, tmp_path)
        updates = [frame.update for frame in recorder.frames]
        assert updates == list(range(101 - len(updates), 101))
        assert len(updates) >= 4

    def test_stop_keeps_the_oldest_frames(self, tape, make, to_file, tmp_path):
        recorder = make(full="stop")
        for _ in range(20):
            recorder.record(tape)
        self.check_size(to_file, tmp_path)
        updates = [frame.update for frame in recorder.frames]
        assert updates == list(range(1, len(updates) + 1))
        assert len(updates) in (8, 9)

    def test_a_frame_larger_than_the_limit_is_refused(self, tape, make):
        recorder = make("4 kB")
        with pytest.raises(ValueError, match=r"limit: got .* expected room for one frame of"):
            recorder.record(tape)

    def test_measures_are_kept_when_frames_are_dropped(self, tape, make):
        recorder = make(measures={"two": lambda tape: 2.0}, measure_every=1)
        for _ in range(50):
            recorder.record(tape)
        updates, values = recorder.series("two")
        assert updates.tolist() == list(range(1, 51))
        assert set(values) == {2.0}


class TestMeasures:
    @pytest.mark.parametrize("batch_first", [False, True])
    @pytest.mark.parametrize("cell", [rc.RNN, rc.GRU, rc.LSTM])
    def test_measures_are_those_of_the_longest_row(self, rng, cell, batch_first):
        layer = cell(3, 6, 2, seed=0, batch_first=batch_first)
        x = rng.standard_normal((4, 25, 3) if batch_first else (25, 4, 3)).astype("float32")
        state = layer.record(x).state
        tape = layer.record(x, state, lengths=[3, 25, 9, 25])
        recorder = viz.Recorder(measure_every=1)
        recorder.record(tape)
        row = x[1:2] if batch_first else x[:, 1:2]
        parts = state if isinstance(state, tuple) else (state,)
        parts = tuple(part[:, 1:2] for part in parts)
        own = parts if isinstance(state, tuple) else parts[0]
        alone = layer.record(row, own)
        assert recorder.series("horizon")[1] == viz.horizon(alone)
        assert recorder.series("lyapunov")[1] == viz.lyapunov_spectrum(
            layer, row, 25 // 4, n=1, state=own
        )
        assert 0 <= recorder.series("saturation")[1][0] <= 1

    def test_saturation_is_the_share_of_saturated_gate_values(self):
        lstm = rc.init.forget_bias(rc.LSTM(1, 4, seed=0), 50.0)
        recorder = viz.Recorder(measure_every=1)
        recorder.record(lstm.record(np.zeros((20, 1, 1))))
        assert recorder.series("saturation")[1] == pytest.approx(1 / 3)  # f of i f o

    def test_the_norm_of_the_gradient_is_recorded(self, tape):
        recorder = viz.Recorder(every=1)
        recorder.record(tape, {"a": np.array([3.0]), "b": np.array([[4.0]])}, loss=1.5)
        assert recorder.series("gradient_norm")[1].tolist() == [5.0]
        assert recorder.series_names == ["loss", "gradient_norm"]

    def test_measures_do_not_depend_on_checkpoints(self, rng):
        layer = rc.GRU(3, 4, seed=0)
        x = rng.standard_normal((25, 2, 3))
        values = []
        for every in (None, 7):
            recorder = viz.Recorder(every=1, measure_every=1)
            recorder.record(layer.record(x, checkpoint_every=every))
            values.append([recorder.series(name)[1] for name in viz.recorder.MEASURES])
        np.testing.assert_array_equal(*values)

    def test_measures_refuse_weights_that_changed(self, rng):
        layer = rc.GRU(3, 4, seed=0)
        tape = layer.record(rng.standard_normal((25, 6, 3)))
        rc.init.forget_bias(layer, 2.0)
        with pytest.raises(RuntimeError, match="weights changed"):
            viz.Recorder().measure(tape)
        with pytest.raises(RuntimeError, match="weights changed"):
            viz.diagnose(tape)

    def test_one_sequence_without_a_batch_is_measured(self, rng):
        tape = rc.GRU(3, 4, seed=0).record(rng.standard_normal((25, 3)))
        recorder = viz.Recorder(every=1, measure_every=1)
        recorder.record(tape)
        assert recorder.series("horizon")[1] == viz.horizon(tape)


class Screen(io.StringIO):
    def isatty(self):
        return True


class TestLive:
    def fill(self, live, tape, updates=8):
        recorder = viz.Recorder(every=1, live=live)
        for update in range(1, updates + 1):
            recorder.seconds["draw"] = 0.0  # draw every time
            recorder._drawing = 0.0
            recorder.record(tape, loss=1 / update)
        recorder.close()
        return recorder

    def test_terminal_writes_over_its_lines(self, tape):
        from rnncore.viz.recorder.live import TerminalPlot

        screen = Screen()
        self.fill(TerminalPlot(screen), tape)
        text = screen.getvalue()
        assert text.count("\x1b[1F") == 7  # up one line, for all but the first
        assert "loss      0.125 █▄▃▂▂▁▁▁" in text.splitlines()[-1]
        assert text.endswith("update 8\n")

    def test_a_stream_that_is_no_terminal_gets_the_last_lines_alone(self, tape):
        from rnncore.viz.recorder.live import TerminalPlot

        paper = io.StringIO()
        self.fill(TerminalPlot(paper), tape)
        assert paper.getvalue().count("\n") == 1
        assert "\x1b" not in paper.getvalue()

    def test_a_window_shows_the_series(self, tape):
        import matplotlib.pyplot as plt
        from rnncore.viz.recorder.live import WindowPlot

        others = plt.get_fignums()
        figure = plt.figure()
        try:
            self.fill(WindowPlot(figure), tape)
            (ax,) = figure.axes
            (line,) = ax.lines
            np.testing.assert_allclose(line.get_xdata(), range(1, 9))
            np.testing.assert_allclose(line.get_ydata(), 1 / np.arange(1, 9))
            assert ax.get_ylabel() == "loss"
            assert ax.get_xlim()[1] > 8
        finally:
            plt.close(figure)
        assert plt.get_fignums() == others

    def test_window_needs_a_backend_with_windows(self):
        import matplotlib

        if matplotlib.get_backend().lower() != "agg":
            pytest.skip("this backend has windows")
        with pytest.raises(ValueError, match="live: got 'window', but matplotlib's backend"):
            viz.Recorder(live="window")

    def test_drawing_takes_at_most_a_twentieth_of_the_time(self, tape):
        now, share = 0.0, []

        class Slow:
            drawn = 0

            def draw(self, recorder):
                nonlocal now
                self.drawn += 1
                now += 0.02 if self.drawn < 10 else 0.1  # drawing gets slower with more to draw

        slow = Slow()
        recorder = viz.Recorder(every=1, names="l0.h", rows=1, live=slow, measures={})
        recorder._clock, recorder._started = lambda: now, 0.0
        for _ in range(1000):
            now += 0.05  # a training step
            recorder.record(tape)
            if slow.drawn > 10:  # the first slow drawing could not be predicted
                share.append(recorder.seconds["draw"] / now)
        assert slow.drawn > 20
        assert max(share[200:]) <= 0.05


class TestFramesAsTapes:
    """Plots and measures of values and gradients take a frame in place of a tape."""

    @pytest.fixture
    def frame(self, tape):
        recorder = viz.Recorder(every=1, names=["*.[hcfi]"], gradients="*.[hc]", rows=[0, 2])
        recorder.record(tape)
        return recorder.frames[0]

    def test_measures_of_a_frame_are_those_of_the_tape(self, tape, frame):
        same = tape.layer.record(tape.input[:, [0, 2]])
        np.testing.assert_array_equal(viz.timescales(frame)["l1"], viz.timescales(same)["l1"])
        np.testing.assert_array_equal(
            viz.saturation(frame)["l0.f"].high, viz.saturation(same)["l0.f"].high
        )
        assert list(viz.saturation(frame)) == ["l0.i", "l0.f", "l1.i", "l1.f"]
        np.testing.assert_array_equal(
            viz.gradient_flow(frame)["l1.c"], viz.gradient_flow(tape)["l1.c"][:, [0, 2]]
        )

    @pytest.mark.parametrize(
        "plot", ["plot_states", "plot_gates", "plot_gradient_flow", "plot_timescales"]
    )
    def test_plots_take_a_frame(self, frame, plot):
        from matplotlib.figure import Figure

        ax = Figure().subplots()
        assert getattr(viz, plot)(frame, ax) is ax
        assert ax.get_title()

    def test_walking_back_from_a_frame_names_the_way_out(self, frame):
        with pytest.raises(TypeError, match=r"tape: got the recorded frame of update 1, .*reopen"):
            viz.jacobian_norms(frame)
