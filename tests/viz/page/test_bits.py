"""The networks of a page compute what the engine computes with the instruction set "base": the same bits."""

import base64
import json
import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import KINDS, run_python

HERE = Path(__file__).resolve().parent

# A product of the head has K = 24 terms in an order that BLAS chooses: K·2⁻²⁴ of the largest, and a softmax over 20
# symbols in float32, on both sides.
HEAD_BOUND = 1e-5
# The norm of a Jacobian product is found to 1e-9 by both; see viz/measures/_spectral.py.
NORM_BOUND = 1e-8


@pytest.fixture(scope="module")
def folder(node, tmp_path_factory):
    """Where base_cases.py has run, under the instruction set "base"."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip(f"the base instruction set without fused multiply-add is x86-64's; this is {platform.machine()}")
    folder = tmp_path_factory.mktemp("page")
    code = (
        f"import runpy; runpy.run_path({str(HERE / 'base_cases.py')!r})"
        f"['main']({str(folder / 'arrays.npz')!r}, {str(folder)!r}, *{node!r})"
    )
    run_python(code, timeout=600, RNNCORE_ISA="base")
    return folder


@pytest.fixture(scope="module")
def in_node(folder):
    with np.load(folder / "arrays.npz") as arrays:
        return dict(arrays)


def pairs(arrays, wanted):
    """(case and name, the page's array, the engine's) of those names that `wanted` accepts."""
    for key, page in arrays.items():
        case, name, side = key.split(" | ")
        if side == "page" and wanted(name):
            yield f"{case}: {name}", page, arrays[f"{case} | {name} | engine"]


def approximate(name):
    return name in ("logits", "loss") or name.startswith(("own grad", "jacobian_norms"))


@pytest.mark.slow
def test_values_and_gradients_have_the_bits_of_the_engine(in_node):
    compared = 0
    for what, page, engine in pairs(in_node, lambda name: not approximate(name)):
        assert (page.dtype, page.shape) == (np.float32, engine.shape), what
        assert page.tobytes() == np.ascontiguousarray(engine).tobytes(), what
        compared += bool(page.any())
    assert compared > 2000  # those of T = 0, and the gradients of T = 1 without a loss, are empty or zero


@pytest.mark.slow
def test_jacobian_norms_are_those_of_the_measure(in_node):
    for what, page, engine in pairs(in_node, lambda name: name.startswith("jacobian_norms")):
        assert page.dtype == np.float64
        np.testing.assert_allclose(page, engine, rtol=NORM_BOUND, err_msg=what)


@pytest.mark.slow
def test_logits_losses_and_their_gradients_agree(in_node):
    for what, page, engine in pairs(in_node, lambda name: name in ("logits", "loss") or name.startswith("own grad")):
        assert page.shape == engine.shape, what
        bound = HEAD_BOUND * max(np.abs(engine).max(initial=0), 1e-30)
        assert np.abs(page - engine).max(initial=0) <= bound, what


@pytest.mark.slow
def test_chromium_has_the_bits_of_node(browser, folder):
    """Of some long sequences, which the other tests compare with the engine.

    The norms of Jacobians go through JavaScript's exp and log, whose last bit is the browser's own.
    """
    cases = json.loads((folder / "layers.cases.json").read_text())
    answers = json.loads((folder / "layers.results.json").read_text())["found"]
    chosen = [(case, answer) for case, answer in zip(cases, answers, strict=True)
              if len(case["input"]) == 300 and case["name"].endswith((" 1x37", "lstm both 2x9", "all 2x9"))]
    assert len(chosen) == len(KINDS) + 5
    (folder / "cases.json").write_text(json.dumps([case for case, _ in chosen]))
    run, environment = browser
    arguments = [folder / "layers.html", folder / "cases.json", folder / "results.json"]
    subprocess.run([*run, *map(str, arguments)], check=True, env=environment)
    found = json.loads((folder / "results.json").read_text())["found"]
    for result, (case, answer) in zip(found, chosen, strict=True):
        for name in [name for name in answer if name.startswith("jacobian_norms")]:
            norms = [np.frombuffer(base64.b64decode(values.pop(name)["data"])) for values in (result, answer)]
            np.testing.assert_allclose(*norms, rtol=NORM_BOUND, err_msg=f"{case['name']}: {name}")
        assert result == answer, case["name"]
