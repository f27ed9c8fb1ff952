"""Thinning, where one frame needs as much room as many others."""

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz


@pytest.mark.parametrize("to_file", [False, True])
def test_a_large_frame_may_thin_the_others_twice(to_file, tmp_path):
    """A large frame after eight small ones: every second is dropped, twice, so then every fourth update is recorded."""
    layer = rc.GRU(2, 8, seed=0)
    small, large = (layer.record(np.ones((T, 1, 2))) for T in (100, 1000))
    states = small["l0.h"].nbytes  # a frame takes 1.25 of it, with its steps' numbers, and the large one 12.5
    recorder = viz.Recorder(tmp_path / "a.run" if to_file else None, every=1, names="l0.h", limit=17 * states)
    for update in range(1, 9):
        recorder.record(small, loss=update)
    assert [frame.update for frame in recorder.frames] == list(range(1, 9))
    recorder.record(large, loss=9)
    assert [frame.update for frame in recorder.frames] == [1, 5, 9]
    assert recorder.every == 4
    for update in range(10, 18):
        recorder.record(small, loss=update)
    updates = [frame.update for frame in recorder.frames]
    assert set(np.diff(updates)) == {recorder.every}
    assert updates[-1] == 17
    recorder.close()
