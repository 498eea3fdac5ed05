"""README, CONTRIBUTING and docs/: links lead somewhere, and README stays one page."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")]
LINK = re.compile(r"\[[^\]]*\]\((?P<path>[^)#\s]*)(?:#(?P<heading>[^)\s]+))?\)")
README_WORDS = 1100


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in LINK.finditer(page.read_text("utf-8")):
        path, heading = link["path"], link["heading"]
        if path.startswith(("http://", "https://", "mailto:")):
            continue
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in anchors(target)):
            found.append(link[0])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](gone.md) [b](#one-two) [c](#three) [d](https://x.org)\n")
    assert broken(page) == ["[a](gone.md)", "[c](#three)"]


def test_the_readme_is_one_page() -> None:
    assert len((PROJECT / "README.md").read_text("utf-8").split()) < README_WORDS


def test_two_commands_of_the_readme_do_the_whole_set_up() -> None:
    """One ends in the first run, one in passed tests; `.ci/run` uses the second."""
    lines = (PROJECT / "README.md").read_text("utf-8").splitlines()
    commands = {line.partition(" # ")[0].strip() for line in lines}
    assert commands > {"pip install . && hero run --task hands", "pip install '.[test]' && pytest"}


def test_named_files_exist() -> None:
    """Paths of the code in the pages exist."""
    named = re.compile(r"`((?:hero_engine|hero_tui|tests|docs)/[\w/.+-]+\.\w+)`")
    gone = [
        f"{page.name}: {path}"
        for page in PAGES
        for path in named.findall(page.read_text("utf-8"))
        if not (PROJECT / path).exists()
    ]
    assert gone == []
