"""Builds that the packaging tests share, each made once, from a clean copy of the checkout.

Nothing is downloaded: builds run without isolation, on the setuptools and Cython of the
environment that runs the tests, and the environments they are installed into borrow its numpy.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Files that are not in git: builds, environments, caches, and the output of `make`.
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv*", ".asv", "build", "dist", "demo", "*.egg-info", "*.so", "*.o",
    "__pycache__", ".*_cache", ".hypothesis",
)  # fmt: skip

# Debug builds take half the time to compile; the build that runs these tests is not one.
QUICKLY = {"RNNCORE_DEBUG": "1"}

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


class Environment:
    """A virtual environment in which only the project is installed; other packages are borrowed."""

    def __init__(self, folder):
        run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
        self.python = folder / "bin" / "python"
        self.bin = folder / "bin"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site_packages = folder / "lib" / version / "site-packages"
        # A .pth inside a folder that is named in a .pth is not read, so an editable install of
        # the project in the borrowed environment does not come along.
        borrowed = sysconfig.get_paths()["purelib"]
        (self.site_packages / "borrowed.pth").write_text(f"{borrowed}\n")

    def install(self, *what, cwd, **environment):
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet")
        flags = ("--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed")
        run(*pip, *flags, *what, cwd=cwd, **environment)


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


@pytest.fixture(scope="session")
def wheel_environment(wheel, tmp_path_factory):
    environment = Environment(tmp_path_factory.mktemp("wheel-install") / "venv")
    environment.install(wheel, cwd=wheel.parent)
    return environment


@pytest.fixture(scope="session")
def editable_environment(checkout, sdist, tmp_path_factory):
    """It depends on the sdist so that this is made first, while nothing in the checkout is compiled."""
    environment = Environment(tmp_path_factory.mktemp("editable-install") / "venv")
    environment.install("--editable", checkout, cwd=checkout.parent, **QUICKLY)
    return environment
