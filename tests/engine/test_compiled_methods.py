"""The compiled classes raise an error where they are called on what they cannot use, and do not crash."""

import pytest
import support

ON_ANOTHER_OBJECT = """
from rnncore import _engine, _hidden_markov

def calls():
    for module in (_engine, _hidden_markov):
        for owner in vars(module).values():
            if isinstance(owner, type) and owner.__module__ == module.__name__:
                yield from ((owner, name, one) for name, one in vars(owner).items() if callable(one))

count = 0
for owner, name, method in calls():
    if name in ("__new__", "__init__"):         # those of every class, which Python itself checks
        continue
    for other in (None, 5, object()):
        for arguments in range(8):
            try:
                method(other, *[None] * arguments)
            except TypeError as error:
                assert "apply to" in str(error) or "requires" in str(error), (owner, name, error)
                count += 1
            else:
                raise AssertionError((owner, name, other))
print(count)
"""


def test_a_method_refuses_an_object_of_another_class():
    assert int(support.run_python(ON_ANOTHER_OBJECT).stdout) > 100


CALLS = [
    "Stepper({}, 1)", "call({}, x, None, None, 1, False)", "record({}, x, None, 1, False, None, None)",
    "backward_recorded({}, (x,) * 9, None, x, None, True, False, (), dict())", "forward_nets({}, x, x, [x])",
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("weights", "said"), [
    ("[]", "ValueError: weights: got none"), ("[None]", "TypeError: weights: got None"),
    ("[_engine.Weights()]", "TypeError: weights: got <rnncore._engine.Weights"),
    ("[1]", "TypeError: "), ("None", "ValueError: weights: got none"),
])
def test_what_are_no_weights_is_refused(call, weights, said):
    code = f"import numpy as np; from rnncore import _engine; x = np.ones((1, 1, 1, 1)); _engine.{call.format(weights)}"
    done = support.run_python(code, check=False)
    assert done.returncode == 1
    assert said in done.stderr


NAMES = "x = np.ones((1, 1, 1, 1), 'f'); w = _engine.Weights(); import rnncore as rc; p = rc.RNN(1, 1).packed().weights"


@pytest.mark.parametrize(("call", "said"), [
    ("forward(w, x, x, [x])", "TypeError: weights: got"), ("forward(None, x, x, [x])", "TypeError: weights: got None"),
    ("project_table(w, x, x)", "TypeError: weights: got"),
    ("table_backward(w, x, x, x, x, x)", "TypeError: weights: got"),
    ("table_backward(p[0], x, x, x, x, x)", "ValueError: weights: got some without their transposes"),
    ("backward_recorded(p, (x,) * 9, None, x, None, True, False, (), dict())", "ValueError: weights: got some without"),
    ("Weights().holds(x, x)", "TypeError: weights: got"),
    ("Unpacked('lstm', x[0], x[0])[1]", "IndexError: weights: got net 1"),
    ("forward([*_engine.Unpacked('rnn_tanh', x[0], x[0])][0], x, x, [x])", "TypeError: weights: got"),
])
def test_weights_that_are_not_packed_are_refused(call, said):
    done = support.run_python(f"import numpy as np; from rnncore import _engine; {NAMES}; _engine.{call}", check=False)
    assert done.returncode == 1
    assert said in done.stderr
