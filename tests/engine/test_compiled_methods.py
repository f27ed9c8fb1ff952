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
