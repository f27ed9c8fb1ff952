"""Builds that the packaging tests share, each made once, from a clean copy of the checkout.

Nothing is downloaded: builds run without isolation, on the setuptools and Cython of the
environment that runs the tests, and the environments they are installed into borrow its numpy.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Files that are not in git: builds, environments, caches, and the output of `make`.
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv*", ".asv", "build", "dist", "demo", "*.egg-info", "*.so", "*.o",
    "__pycache__", ".*_cache", ".hypothesis",
)  # fmt: skip

# Nothing here takes long to run.
QUICKLY = {"RNNCORE_QUICK": "1"}

BUILD = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"


def run(*command, cwd, **environment):
    """Run a command that cannot import from the checkout; if it fails, the error has its output."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "RNNCORE_"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def commands():
    return run


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A copy of the sources, nothing compiled."""
    copy = tmp_path_factory.mktemp("checkout") / "rnncore"
    return Path(shutil.copytree(ROOT, copy, ignore=NOT_SOURCE))


@pytest.fixture(scope="session")
def sdist(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-c", BUILD, "build_sdist", out, cwd=checkout)
    (archive,) = out.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="session")
def wheel(sdist, tmp_path_factory):
    """Built from the sdist, as an index would."""
    out = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(out, filter="data")
    (source,) = (path for path in out.iterdir() if path.is_dir())
    run(sys.executable, "-c", BUILD, "build_wheel", out, cwd=source, **QUICKLY)
    (archive,) = out.glob("*.whl")
    return archive


@pytest.fixture(scope="session")
def sdist_files(sdist):
    """{name inside the top folder: bytes}"""
    with tarfile.open(sdist) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return {m.name.split("/", 1)[1]: archive.extractfile(m).read() for m in members}


@pytest.fixture(scope="session")
def wheel_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class Installed(NamedTuple):
    """Where the commands of an environment are, and the folders that should be imported there."""

    bin: Path
    package: Path
    viz: Path

    @property
    def python(self):
        return self.bin / "python"


@pytest.fixture(scope="session")
def wheel_environment(wheel, tmp_path_factory):
    """A virtual environment in which only the wheel is installed; other packages are borrowed."""
    folder = tmp_path_factory.mktemp("wheel-install") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    site_packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # A .pth inside a folder that is named in a .pth is not read, so an editable install of
    # the project in the borrowed environment does not come along.
    (site_packages / "borrowed.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=folder.parent)
    return Installed(folder / "bin", site_packages / "rnncore", site_packages / "rnncore" / "viz")


@pytest.fixture(scope="session")
def editable_environment():
    """The environment that runs the tests, into which `make` has installed this checkout."""
    origin = json.loads(metadata.distribution("rnncore").read_text("direct_url.json") or "{}")
    if origin != {"url": ROOT.as_uri(), "dir_info": {"editable": True}}:
        pytest.skip(f"NOT TESTED: an editable install. The installed rnncore comes from {origin}, not from {ROOT}")
    return Installed(Path(sys.executable).parent, ROOT / "rnncore", ROOT / "viz")
