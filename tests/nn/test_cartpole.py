"""docs/cartpole.md and docs/examples/cartpole.py: what they say runs, in a short form."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not installed with the package")


@pytest.fixture(scope="module")
def cartpole():
    spec = importlib.util.spec_from_file_location("cartpole", DOCS / "examples" / "cartpole.py")
    module = sys.modules["cartpole"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["cartpole"]


def test_the_page_runs():
    names: dict = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / "cartpole.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "cartpole.md", "exec"), names)


def test_the_policy_learns(cartpole):
    _, means, rollout = cartpole.train(30, count=16, steps=64, limit=100)
    assert np.mean(means[-5:]) > 1.5 * np.mean(means[:5])
    assert rollout.reset.any()


def test_the_physics_are_those_of_the_equations(cartpole):
    """Solved for the accelerations in another way: the two equations of motion as a linear system."""
    env = cartpole.CartPole(5, 500, np.random.default_rng(0))
    env.state = np.random.default_rng(1).normal(size=(5, 4)) * [1, 1, 0.1, 1]
    x, v, angle, spin = env.state.T.copy()
    action = np.array([0, 1, 1, 0, 1])
    env.step(action)
    for k in range(5):
        sin, cos, pole, half = np.sin(angle[k]), np.cos(angle[k]), 0.1, 0.5
        system = [[1.1, pole * half * cos], [cos, 4 / 3 * half]]
        force = (10 if action[k] else -10) + pole * half * spin[k] ** 2 * sin
        rate, spin_rate = np.linalg.solve(system, [force, 9.8 * sin])
        expected = np.array([x[k], v[k], angle[k], spin[k]]) + 0.02 * np.array([v[k], rate, spin[k], spin_rate])
        np.testing.assert_allclose(env.state[k], expected, rtol=1e-12)


@pytest.mark.parametrize("resets", [True, False], ids=["rnncore.torch", "torch, packed"])
def test_torch_computes_the_same_gradients(cartpole, resets):
    model, _, rollout = cartpole.train(3, count=6, steps=40)
    found = cartpole.gradients(model, rollout)
    update, parameters = cartpole.torch_update(rollout, model, resets=resets)
    update()
    assert found.keys() == parameters.keys()
    for name, grad in found.items():
        np.testing.assert_allclose(grad, parameters[name].grad.numpy(), rtol=1e-4, atol=1e-6, err_msg=name)
