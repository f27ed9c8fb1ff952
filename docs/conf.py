"""Settings of Sphinx for the book; `make docs` runs tools/build_docs.py, which runs Sphinx on a copy of the pages.

The pages are Markdown that reads well in the repository. What Sphinx needs besides is added here, as the pages are
read: a toctree for every list of links in an index page, the live figures of the lesson, and the indices of formulas.
"""

from __future__ import annotations

import html
import importlib.metadata
import re
from pathlib import Path

project = "rnncore"
author = "rnncore contributors"
release = importlib.metadata.version("rnncore")
html_title = "rnncore"
root_doc = "docs/index"

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
templates_path = [str(Path(__file__).resolve().parent / "_templates")]

# Anchors of headings are GitHub's, so that a link works in both places (tests/packaging/test_docs_index.py).
myst_heading_anchors = 4
suppress_warnings = ["myst.xref_ambiguous"]

default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections have the types, with shapes
autodoc_default_options = {"member-order": "bysource"}
autodoc_class_signature = "mixed"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_static_path = [str(Path(__file__).resolve().parent / "_static")]
html_css_files = ["book.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "github-dark"

# `make links` asks every external address once.
linkcheck_timeout = 20
linkcheck_workers = 4
linkcheck_anchors = False

# Pages whose lists of links are the table of contents; the others are reached through these.
INDEX_PAGES = {"docs/index", "docs/lesson/index"}
ITEM = re.compile(r"^(?:[-*]|(\d+\.)) \[([^\]]*)\]\(([^()\s#]+)\.md\)", re.MULTILINE)
LIVE = re.compile(r"^<!-- live: (\S+\.html) -->$", re.MULTILINE)

# Formulas are written in plain text, which reads well in the repository: h_t, s_{T−k}, e^a. The book sets indices and
# exponents; code, links, headings and comments stay as they are.
LETTER = r'(?<![\w"])([^\W\d_][′²]?)'
INDEX = re.compile(LETTER + r'_(\{[^{}]+\}|<t|[A-Za-z0-9]{1,4}(?![A-Za-z0-9_"]))')
POWER = re.compile(LETTER + r"\^(\([^()]+\)|−?[A-Za-z0-9]+)")
FENCED = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?<=\n\n)(?: {4,}\S.*\n)+")
QUOTED = re.compile(r"(``.+?``|:[\w:]+:`[^`]+`|`[^`]+`|\*\*.+?\*\*|\*[^*\s][^*]*\*)")
VERBATIM = re.compile(r'(<pre class="formula">.*?</pre>|`[^`]+`|<!--.*?-->|</?[a-z][^<>\n]*>|'
                      r"!?\[[^\]]*\]\([^)]*\)|^#[^\n]*$)", re.DOTALL | re.MULTILINE)


def toctrees(text: str) -> str:
    """The text with a hidden toctree after every section that has a list of links; its heading is the caption."""
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    out = [head + toctree(head, "")]
    for section in sections:
        out.append(section + toctree(section, section.splitlines()[0].removeprefix("## ")))
    return "".join(out)


def toctree(section: str, caption: str) -> str:
    pages = [f"{number} {label} <{page}>".strip() for number, label, page in ITEM.findall(section)]
    if not pages:
        return ""
    options = ":hidden:\n" + (f":caption: {caption}\n" if caption else "")
    return f"\n```{{toctree}}\n{options}\n" + "\n".join(pages) + "\n```\n\n"


def typeset(text: str) -> str:
    """Indices and exponents of a formula as HTML."""
    text = INDEX.sub(lambda found: f"{found[1]}<sub>{html.escape(found[2].strip('{}'))}</sub>", text)
    return POWER.sub(lambda found: f"{found[1]}<sup>{found[2].strip('()')}</sup>", text)


def display(found: re.Match[str]) -> str:
    """An indented block as a formula, unless it has no index, as a command has none."""
    if not INDEX.search(found[0]):
        return found[0]
    lines = found[0].splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines)
    pad = " " * (indent - 4)                # of the list that the block is in
    inside = f"\n{pad}".join(typeset(html.escape(line[indent:], quote=False)) for line in lines)
    return f'{pad}<pre class="formula">{inside}</pre>\n'


def formulas(text: str) -> str:
    """The text with all formulas set, outside of code."""
    parts = FENCED.split(text)              # every second one is fenced
    for k in range(0, len(parts), 2):
        pieces = VERBATIM.split(INDENTED.sub(display, parts[k]))
        pieces[::2] = map(typeset, pieces[::2])
        parts[k] = "".join(pieces)
    return "".join(parts)


def live(file: str) -> str:
    """A live figure in a frame of its own, and a link that opens it in a tab."""
    return (f'<iframe class="live" src="{file}" title="The live figure of this page" loading="lazy"></iframe>\n'
            f'<p class="live"><a href="{file}" target="_blank">Open the live figure in a tab of its own</a></p>')


def read(app, docname: str, source: list[str]) -> None:
    if docname in INDEX_PAGES:
        source[0] = toctrees(source[0])
    if docname == "docs/reference":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\napi/*\n```\n"
    if docname == "README":
        source[0] = "---\norphan: true\n---\n" + source[0]
    folder = Path(app.srcdir, docname).parent
    source[0] = LIVE.sub(lambda found: live(found[1]) if (folder / found[1]).exists() else "", source[0])
    if str(app.env.doc2path(docname)).endswith(".md"):
        source[0] = formulas(source[0])


def docstring(app, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Indices in a docstring, as in the pages; doctests, directives, literal blocks and tables stay as they are."""
    literal: int | None = None              # the indent of a paragraph that ends in "::"
    verbatim, before = False, ""
    for k, line in enumerate(lines):
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if text and not before:             # a paragraph begins
            literal = None if literal is None or indent <= literal else literal
            verbatim = literal is not None or text.startswith((">>>", "..", "=="))
        if text and not verbatim:
            pieces = QUOTED.split(line)
            pieces[::2] = [INDEX.sub(lambda found: rf"{found[1]}\ :sub:`{found[2].strip('{}')}`\ ", piece)
                           for piece in pieces[::2]]
            lines[k] = "".join(pieces)
            literal = indent if text.endswith("::") else literal
        before = text


def setup(app):
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", docstring, priority=900)       # after numpydoc
    return {"parallel_read_safe": True, "parallel_write_safe": True}
