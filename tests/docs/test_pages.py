"""Every Python block of README.md and docs/ runs, page by page, as a reader would run it.

The pages that `make lesson` runs have their numbers and claims checked, too. Some blocks of the other pages are files
that are added to the project, or need what only their own tests prepare; these are named here, with the test.
"""

import doctest
import re
import runpy
from pathlib import Path

import pytest

import rnncore as rc
from rnncore import viz

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LESSON = runpy.run_path(str(DOCS / "lesson" / "__main__.py"))
RUN = [path.relative_to(DOCS).as_posix() for path in LESSON["pages"]()]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"<!-- (?:file|row of): \S+ -->\n```python\n.*?^```$", re.DOTALL | re.MULTILINE)

# Pages of which other tests run every block.
ELSEWHERE = {
    "docs/audio.md": "tests/convert/test_docs.py",
    "docs/cells.md": "tests/recurrent/test_new_cell.py",
    "docs/data.md": "tests/data/test_docs.py",
    "docs/from_keras.md": "tests/convert/test_docs.py",
    "docs/from_onnx.md": "tests/convert/test_docs.py",
    "docs/from_torch.md": "tests/torch/test_docs.py",
    "docs/memory.md": "tests/viz_debugger/test_docs.py",
    "docs/models.md": "tests/viz_debugger/test_docs.py",
}


def pages():
    """The pages with Python blocks that nothing else runs, by their names in the repository."""
    found = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    names = [page.relative_to(ROOT).as_posix() for page in found if "```python" in page.read_text("utf-8")]
    return [name for name in names if name not in ELSEWHERE and name.removeprefix("docs/") not in RUN]


@pytest.fixture(autouse=True)
def own_style():
    """Pages and the lesson choose a style, which must not be that of the tests that follow in this process."""
    import matplotlib

    with matplotlib.rc_context():
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", pages())
def test_the_blocks_of_a_page_run(name, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    if name == "docs/debugger.md":      # its runs have thousands of updates; tests of the debugger replay a run
        fit = rc.train.Trainer.fit
        monkeypatch.setattr(rc.train.Trainer, "fit", lambda self, updates, **options: fit(
            self, min(updates, 3), **{"progress": False, **options}))
        monkeypatch.setattr(viz, "replay", lambda *arguments: [])
    text = FILE.sub("", (ROOT / name).read_text("utf-8"))
    found = 0
    for language, block in BLOCK.findall(text):
        if language == "python" and not block.startswith(">>>"):
            exec(compile(block, name, "exec"), names)
            found += 1
        plt.close("all")
    for value in names.values():
        if isinstance(value, viz.Recorder | viz.Run):
            value.close()
    assert found or ">>>" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_a_page_of_the_lesson_runs_and_its_claims_hold(name, tmp_path):
    text = LESSON["run"](DOCS / name, tmp_path)
    committed = (DOCS / name).read_text("utf-8")
    assert words(text) == words(committed)
    for picture in re.findall(r"\((img/\w+\.png)\)", text):
        assert (tmp_path / Path(name).parent / picture).read_bytes().startswith(b"\x89PNG")


def words(text):
    """The text without what is measured."""
    text = re.sub(r"^```text\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(<!--= .+? -->).*?<!--/-->", r"\1", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", [name for name in RUN if name.startswith("lesson/")])
def test_a_page_of_the_lesson_has_its_parts(name):
    text = (DOCS / name).read_text("utf-8")
    assert len(re.findall(r"^!\[", text, re.M)) == 1, "one picture"
    assert text.count("> **Guess first.**") == 1, "one question"
    assert text.count("<!-- claim: ") >= 1, "one claim that is checked"
    exercises = re.findall(r"^\*\*\d\.\*\* .*?</details>$", text, re.DOTALL | re.MULTILINE)
    assert len(exercises) == 3
    for exercise in exercises:
        assert "<summary>Answer</summary>" in exercise
        assert "assert " in exercise, "an answer is tested"


PAGE = """# A page

```python
print(1 + 1)
x = 3.14159
```

```text
old
```

It is <!--= x:.2f} or {ten(x / 1e13) -->0<!--/-->.

<!-- claim: x > 3 -->
"""


def test_what_is_measured_is_inserted(tmp_path, monkeypatch):
    monkeypatch.setitem(LESSON["run"].__globals__, "DOCS", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    out = LESSON["run"](page, tmp_path / "out")
    assert "```text\n2\n```" in out
    assert "-->3.14 or 3·10⁻¹³<!--/-->." in out
    assert (tmp_path / "out" / "page.md").read_text("utf-8") == out
    page.write_text(out, encoding="utf-8")
    assert LESSON["run"](page, tmp_path / "out") == out


@pytest.mark.parametrize(("old", "new", "message"), [
    ("x > 3 -->", "x > 4 -->", r"page.md:14: the claim is not true: x > 4"),
    ("It is <!--=", "It is\n<!--=", "a value begins a line"),
    ("It is", "![a](img/a.png)", "nothing was drawn for img/a.png"),
    ("print(1 + 1)", "1 / 0", "division by zero"),
])  # fmt: skip
def test_a_page_that_is_wrong_fails(old, new, message, tmp_path, monkeypatch):
    monkeypatch.setitem(LESSON["run"].__globals__, "DOCS", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace(old, new), encoding="utf-8")
    with pytest.raises((AssertionError, ZeroDivisionError), match=message):
        LESSON["run"](page, tmp_path / "out")


def test_examples_with_prompts_parse():
    """Blocks with `>>>` show what depends on a run; their calls are Python."""
    for page in DOCS.rglob("*.md"):
        for language, block in BLOCK.findall(page.read_text("utf-8")):
            if language == "python" and block.startswith(">>>"):
                for example in doctest.DocTestParser().get_examples(block):
                    compile(example.source, page.name, "exec")


def test_targets_of_make_that_pages_name_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        named = set(re.findall(r"`make ([a-z0-9-]+)", page.read_text("utf-8")))
        assert named <= targets, f"{page.name}: {named - targets}"


def test_every_measure_is_on_the_page_of_measures():
    text = (DOCS / "measures.md").read_text("utf-8")
    functions = [name for name in viz.measures.__all__ if not isinstance(getattr(viz, name), type)]
    assert [name for name in functions if f"`{name}(" not in text] == []


@pytest.mark.parametrize(("text", "expected"), [
    ("‖∂s_T/∂s_{T−k}‖₂ of h_t, x′_t, r²_k, σ_w² and x_<t",
     "‖∂s<sub>T</sub>/∂s<sub>T−k</sub>‖₂ of h<sub>t</sub>, x′<sub>t</sub>, r²<sub>k</sub>, σ<sub>w</sub>² and "
     "x<sub>&lt;t</sub>"),
    ("n^k, K^(order + 1), e^−a", "n<sup>k</sup>, K<sup>order + 1</sup>, e<sup>−a</sup>"),
    ("As:\n\n    a_t < 1\n    b_t\n\nand",
     'As:\n\n<pre class="formula">a<sub>t</sub> &lt; 1\nb<sub>t</sub></pre>\n\nand'),
    ("# h_t\n\nh_t\n\n# x", "# h_t\n\nh<sub>t</sub>\n\n# x"),
    ("3. As:\n\n       a_t\n       b\n", '3. As:\n\n   <pre class="formula">a<sub>t</sub>\n   b</pre>\n'),
    *((same, same) for same in (
        "linear_before_reset, OMP_NUM_THREADS, \"h_n\"", "`h_t` and [h_t](a_b.md), ![h_t](h_t.png)",
        "<!--= x_t -->1<!--/-->", "# h_t\n\nand then", "```python\n\n    h_t = 1\n```",
        "Type\n\n    make demo TEXT=path\n")),
])  # fmt: skip
def test_formulas_are_set_and_code_is_not(text, expected):
    assert runpy.run_path(str(DOCS / "conf.py"))["formulas"](text) == expected
