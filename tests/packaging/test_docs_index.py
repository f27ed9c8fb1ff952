"""Every page of docs/ can be reached from its index, and every relative link of the documentation has a target."""

import itertools
import re
import string
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
LESSON = DOCS / "lesson" / "index.md"
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(DOCS.rglob("*.md"))]

FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def name(page):
    return str(page.relative_to(ROOT))


def links(page):
    """(file, anchor) of every relative link of a page; the file is absolute, the anchor may be empty."""
    text = CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    for target in LINK.findall(text):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


def anchors(page):
    """The anchors that GitHub gives the headings of a page."""
    counts = {}
    for heading in HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        kept = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = "".join(c for c in kept if c.isalnum() or c in "-_ ").replace(" ", "-")
        counts[slug] = counts.get(slug, -1) + 1
        yield f"{slug}-{counts[slug]}" if counts[slug] else slug


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_has_a_target(page):
    missing = []
    for path, anchor in links(page):
        if not path.exists():
            missing.append(str(path.relative_to(ROOT)))
        elif anchor and anchor not in anchors(path):
            missing.append(f"{path.relative_to(ROOT)}#{anchor}")
    assert missing == []


def test_the_index_links_to_every_page():
    linked = {path for path, _ in links(INDEX)}
    assert LESSON in linked
    assert [page.name for page in DOCS.glob("*.md") if page not in {INDEX, *linked}] == []


def test_the_index_of_the_lesson_links_to_its_pages_in_order():
    pages = [path for path, _ in links(LESSON) if path.parent == LESSON.parent]
    assert pages == sorted(path for path in LESSON.parent.glob("*.md") if path != LESSON)
    for page, following in itertools.pairwise(pages):
        assert following in {path for path, _ in links(page)}
        assert page in {path for path, _ in links(following)}


def test_the_readme_and_every_page_link_to_their_index():
    for page in PAGES:
        index = LESSON if page.parent == LESSON.parent and page != LESSON else INDEX
        assert page == index or index in {path for path, _ in links(page)}, name(page)


def test_anchors_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A model of your own\n\n```\n# no heading\n```\n\n"
                    "## `make x`: [a link](b.md), 2 × 3\n\n## A\n\n## A\n")
    assert list(anchors(page)) == ["a-model-of-your-own", "make-x-a-link-2--3", "a", "a-1"]
    assert set("".join(anchors(page))) <= set(string.ascii_lowercase + string.digits + "-_")
