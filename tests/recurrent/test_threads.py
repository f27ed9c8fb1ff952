"""Several threads may run backward on one tape at once, and a tape can be copied and pickled."""

import copy
import pickle
import threading

import pytest
from support import make, random_input, same_bits


@pytest.mark.parametrize("every", [None, 50])
@pytest.mark.parametrize("K", [None, 2])
def test_backward_in_several_threads_returns_each_its_own_gradients(every, K, rng):
    layer = make("gru", 4, 24, 2)
    tape = layer.record(random_input(layer, 200, 4, rng), checkpoint_every=every)
    shape = (*(() if K is None else (K,)), *tape.output.shape)
    cotangents = [rng.normal(size=shape).astype("float32") for _ in range(4)]
    expected = [tape.backward(g, parameters=True) for g in cotangents]
    wrong, together = [], threading.Barrier(4)

    def work(k):
        for _ in range(8):
            together.wait()
            got = tape.backward(cotangents[k], parameters=True)
            found = got.parameters | {"input": got.input}
            right = expected[k].parameters | {"input": expected[k].input}
            wrong.extend((k, name) for name in right if found[name].tobytes() != right[name].tobytes())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("again", [copy.deepcopy, lambda tape: pickle.loads(pickle.dumps(tape))])
def test_a_copied_tape_has_its_own_gradients(again, rng):
    layer = make("lstm", 4, 9, 2, bidirectional=True)
    tape = layer.record(random_input(layer, 7, 3, rng), lengths=[7, 0, 4])
    g = rng.normal(size=tape.output.shape).astype("float32")
    expected = tape.backward(g)
    other = again(tape)
    with layer.writable() as weights:
        weights["weight_hh_l0"][...] += 1
    same_bits(other.backward(g).parameters, expected.parameters)
    same_bits({n: other[n] for n in other.names()}, {n: tape[n] for n in tape.names()})
    with pytest.raises(RuntimeError, match="weights changed"):
        tape.backward(g)
