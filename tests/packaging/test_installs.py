"""A wheel and an editable install, used from elsewhere and from the checkout's root."""

import json
from pathlib import Path

import pytest

# Builds are shared, so all of these go to one process.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]

# Runs the engine and says from where everything came.
PROBE = """
import json
from importlib.metadata import version
import numpy as np
import rnncore as rc
from rnncore import viz
import rnncore.viz.measures
import rnncore._engine as engine

x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
y, (h, c) = rc.LSTM(3, 4, seed=1)(x)
assert y.shape == (5, 2, 4) and np.abs(y).max() > 0
print(json.dumps({
    "rnncore": rc.__file__, "viz": viz.__file__, "engine": engine.__file__,
    "versions": [rc.__version__, version("rnncore"), rc.build_info()["version"]],
}))
"""

LATE = """
import sys
import rnncore
late = {"matplotlib", "tqdm", "safetensors", "torch", "onnx", "scipy"} & set(sys.modules)
assert not late, late
"""

# Under the project's own pytest settings, where a source tree in the way is most likely met.
TEST_OF_PLACE = """
import rnncore

def test_place():
    assert rnncore.__file__.startswith({place!r}), rnncore.__file__
"""


@pytest.fixture(params=["wheel", "editable"])
def installed(request, checkout):
    """(environment, where rnncore is expected, where viz is expected)"""
    if request.param == "wheel":
        environment = request.getfixturevalue("wheel_environment")
        package = environment.site_packages / "rnncore"
        return environment, package, package / "viz"
    environment = request.getfixturevalue("editable_environment")
    return environment, checkout / "rnncore", checkout / "viz"


def test_import_from_another_folder(installed, commands, tmp_path):
    environment, package, viz = installed
    said = json.loads(commands(environment.python, "-c", PROBE, cwd=tmp_path).splitlines()[-1])
    assert Path(said["rnncore"]).parent == package
    assert Path(said["engine"]).parent == package
    assert Path(said["viz"]).parent == viz
    assert set(said["versions"]) == {"0.1.0"}


def test_import_needs_numpy_alone(installed, commands, tmp_path):
    environment, _, _ = installed
    commands(environment.python, "-c", LATE, cwd=tmp_path)


def test_command(installed, commands, tmp_path):
    environment, _, _ = installed
    assert "debug" in commands(environment.bin / "rnncore", "--help", cwd=tmp_path)


@pytest.mark.parametrize("from_root", [True, False], ids=["from root", "from elsewhere"])
def test_pytest_meets_the_installed_package(installed, from_root, commands, checkout, tmp_path):
    environment, package, _ = installed
    test = checkout / "tests" / "test_place.py"
    test.write_text(TEST_OF_PLACE.format(place=str(package)))
    try:
        commands(
            environment.python, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", test,
            cwd=checkout if from_root else tmp_path,
        )  # fmt: skip
    finally:
        test.unlink()
