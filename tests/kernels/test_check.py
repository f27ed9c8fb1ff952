"""check.c, which `make arm64` compiles and runs, fits the kernels' interface as it is now."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parents[1] / "src/kernels"


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_check_compiles():
    flags = ["-std=gnu11", "-fsyntax-only", "-Wall", "-Werror", f"-I{KERNELS}"]
    done = subprocess.run(["cc", *flags, HERE / "check.c"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
