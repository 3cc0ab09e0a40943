"""Every link, anchor and picture of the documentation leads somewhere, and every page is in the menu."""

from pathlib import Path

import pytest
import yaml
from documented import PAGES, ROOT, anchors, links, named
from PIL import Image

#: What docstrings become: these pages get anchors that only the built site has; mkdocs --strict looks at them.
_GENERATED = "docs/reference/"


def broken(page: Path, text: str) -> list[str]:
    """The links of a page that lead nowhere, and why."""
    found = []
    for target in links(text):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        if not other.exists():
            found.append(f"{target}: there is no such file")
        elif anchor and other.suffix == ".md" and not named(other).startswith(_GENERATED):
            there = anchors(text if other == page else other.read_text())
            if anchor not in there:
                found.append(f"{target}: no such heading; there are {sorted(there)}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page, page.read_text()) == []


def test_pages_of_the_site_link_within_the_site() -> None:
    docs = ROOT / "docs"
    for page in docs.rglob("*.md"):
        for target in links(page.read_text()):
            if "://" not in target and target.partition("#")[0]:
                assert (page.parent / target.partition("#")[0]).resolve().is_relative_to(docs), (named(page), target)


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# One, two\n\n## `code` and (more)\n\n## `code` and (more)\n")
    text = (
        "# Here\n[good](other.md#one-two) [good](other.md#code-and-more_1) [good](#here) [out](https://nowhere.invalid)\n"
        '![bad](none.png) [bad](other.md#three) [bad](#there) <img src="gone.webp">\n'
        "`[code](not-a-link)`\n```text\n[nor](this)\n```\n<!-- [nor](that) -->\n"
    )
    page.write_text(text)
    assert [line.split(":")[0] for line in broken(page, text)] == ["none.png", "other.md#three", "#there", "gone.webp"]


def test_pictures_open_and_are_used() -> None:
    used = {(page.parent / target).resolve() for page in PAGES for target in links(page.read_text())}
    pictures = sorted((ROOT / "docs" / "images").iterdir())
    for picture in pictures:
        with Image.open(picture) as opened:
            opened.verify()
        assert picture.stat().st_size < 1_000_000, f"{picture.name}: a page should not be waited for"
    assert [picture.name for picture in pictures if picture not in used] == []


def test_every_page_is_in_the_menu() -> None:
    menu: list[str] = []

    def collect(entry: object) -> None:
        if isinstance(entry, str):
            menu.append(entry)
        for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else []:
            collect(part)

    collect(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert set(menu) == pages
    assert len(menu) == len(pages)
