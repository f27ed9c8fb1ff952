"""Runs the pages of the lesson and some others, and writes what they measure and draw into them: `make lesson`.

    python docs/lesson                          # in place: pages, pictures and live figures
    python docs/lesson --only memory            # the pages with this in their name
    python docs/lesson --style slide --out DIR  # pictures for a projector; the pages go there, too

A page is its own program. From top to bottom,

- every ```python block is run, in one namespace;
- a ```text block below one becomes what it printed;
- `![...](img/NAME.png)` takes the figure that was drawn last;
- `<!--= EXPRESSION -->…<!--/-->` gets the value of the expression, which may end in a format, `<!--= rate:.1f -->`;
  it is what stands in the braces of an f-string, so that text may follow: `<!--= a:.1f} to {b:.1f -->`;
- `<!-- claim: EXPRESSION -->` has to be true, or the page fails;
- `<!-- live: FILE.html -->` keeps a page that a block has written, which the book shows there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent

# Pages outside the lesson that are run in the same way.
OTHERS = ["start", "train", "forecast", "classify", "initial_weights", "why_it_forgets", "dynamics"]

PART = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?P<output>\n```text\n.*?^```\n)?"
    r"|!\[[^\]]*\]\((?P<picture>img/\w+\.png)\)"
    r"|<!--= (?P<value>.+?) -->.*?<!--/-->"
    r"|^<!-- claim: (?P<claim>.+?) -->$",
    re.DOTALL | re.MULTILINE,
)


SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def ten(value: float) -> str:
    """A number as a digit times a power of ten, as one writes it: 4·10⁻¹³."""
    digit, power = f"{value:.0e}".split("e")
    return f"{digit}·10{str(int(power)).translate(SUPERSCRIPTS)}"


def pages() -> list[Path]:
    """The pages of the lesson in their order, and the others."""
    return sorted(HERE.glob("[0-9]*.md")) + [DOCS / f"{name}.md" for name in OTHERS]


def run(page: Path, out: Path, style: str = "page") -> str:
    """Run one page and write it and its pictures to `out`, which stands for docs/; the text of the page."""
    out = out / page.parent.relative_to(DOCS)
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from rnncore.viz.plots._artists import wrap_title

    from rnncore import viz

    viz.style.use(style)
    names: dict = {"__name__": page.stem}
    text = page.read_text(encoding="utf-8")

    def line(found: re.Match) -> int:
        return text.count("\n", 0, found.start()) + 1

    def done(found: re.Match) -> str:
        if (code := found["code"]) is not None:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                # Empty lines before the code, so that a traceback has the lines of the page.
                exec(compile("\n" * line(found) + code, str(page), "exec"), names)
            return f"```python\n{code}```\n" + (f"\n```text\n{printed.getvalue()}```\n" if found["output"] else "")
        if found["picture"]:
            if not plt.get_fignums():
                raise AssertionError(f"{page.name}:{line(found)}: nothing was drawn for {found['picture']}")
            path = out / found["picture"]
            path.parent.mkdir(parents=True, exist_ok=True)
            figure = plt.gcf()
            for ax in figure.axes:
                wrap_title(ax)
            if style == "slide":                        # its letters are larger
                figure.set_size_inches(1.45 * figure.get_size_inches())
            figure.savefig(path, dpi=130, pil_kwargs={"optimize": True})
            plt.close("all")
            return found[0]
        if found["value"]:
            if text[found.start() - 1] == "\n":         # Markdown would end the paragraph here
                raise AssertionError(f"{page.name}:{line(found)}: a value begins a line; put a word before it")
            value = eval('f"""{' + found["value"] + '}"""', {**names, "ten": ten})
            return f"<!--= {found['value']} -->{value}<!--/-->"
        if not eval(found["claim"], names):
            raise AssertionError(f"{page.name}:{line(found)}: the claim is not true: {found['claim']}")
        return found[0]

    here = Path.cwd()
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)                    # for the files that a page writes
            new = PART.sub(done, text)
            out.mkdir(parents=True, exist_ok=True)
            for figure in re.findall(r"^<!-- live: (\S+\.html) -->$", text, re.MULTILINE):
                (out / figure).write_bytes(Path(figure).read_bytes())
    finally:
        os.chdir(here)
        plt.close("all")
    (out / page.name).write_text(new, encoding="utf-8")
    return new


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], prog="make lesson")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder for pages and pictures (%(default)s)")
    parser.add_argument("--only", default="", help="run only pages whose name contains this")
    parser.add_argument("--style", default="page", help='"page", or "slide" for a projector (%(default)s)')
    parser.add_argument("--jobs", type=int, default=2, help="pages side by side, each in a process (%(default)s)")
    parser.add_argument("--page", type=Path, help=argparse.SUPPRESS)        # what one such process runs
    options = parser.parse_args()
    out = options.out.resolve()
    if options.page:
        run(options.page, out, options.style)
        return

    def start(page: Path) -> int:
        began = time.perf_counter()
        status = subprocess.run([sys.executable, str(HERE), "--page", str(page), "--out", str(out),
                                 "--style", options.style], check=False).returncode  # fmt: skip
        print(f"  {page.name}: {time.perf_counter() - began:.0f} s", flush=True)
        return status

    began = time.perf_counter()
    with ThreadPoolExecutor(options.jobs) as pool:
        failed = sum(status != 0 for status in pool.map(start, [p for p in pages() if options.only in p.name]))
    print(f"{time.perf_counter() - began:.0f} s; the pages are in {out}")
    sys.exit(f"{failed} pages failed" if failed else 0)


if __name__ == "__main__":
    main()
