"""The pages of the documentation as tests read them: code blocks with their marks, command lines, links and anchors.

A comment before a block says what becomes of it: `<!-- not run: REASON -->`, or `<!-- run -->` before commands. Python
is run unless it is marked; a block of bash has one of the two marks.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: All pages with links; code blocks are in the README and below docs.
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE_PAGES = [page for page in PAGES if page.name not in ("CHANGELOG.md", "SECURITY.md")]

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.M | re.S)
_MARK = re.compile(r"<!--\s*(?P<word>not run|run)(?::\s*(?P<reason>[^\n]*?))?\s*-->\n+\s*\Z")
_COMMENT = re.compile(r"<!--.*?-->", re.S)
#: Square brackets, then the target, with an optional title.
_LINK = re.compile(
    r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?(?P<target>[^()\s>]*(?:\([^()]*\)[^()\s>]*)?)>?(?:\s+\"[^\"]*\")?\)"
)
_HTML_LINK = re.compile(r"<(?:img|a|source)\b[^>]*?\b(?:src|href|srcset)=\"(?P<target>[^\"]*)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Args:
        page: Its file.
        line: Number of its first line of code.
        language: As the fence says.
        text: The code.
        mark: "run", "not run" or nothing.
        reason: Why it is not run.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    reason: str = ""

    @property
    def where(self) -> str:
        """Page and line, to be found by who reads the failure."""
        return f"{named(self.page)}:{self.line}"


def named(page: Path) -> str:
    """Path of a page inside the project."""
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def blocks(page: Path, text: str | None = None) -> list[Block]:
    """The code blocks of a page, in order."""
    text = page.read_text() if text is None else text
    found = []
    for match in _BLOCK.finditer(text):
        mark = _MARK.search(text, 0, match.start())
        indent = match["indent"]
        code = "".join(line.removeprefix(indent) for line in match["text"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("text")) + 1
        word, reason = (mark["word"], mark["reason"] or "") if mark else ("", "")
        found.append(Block(page, line, match["language"], code, word, reason))
    return found


def command_lines(text: str) -> Iterator[list[str]]:
    """Words of every `advcam` command in a block of shell, continued lines joined; `...` is one word."""
    for line in text.replace("\\\n", " ").splitlines():
        try:
            words = list(shlex.shlex(line, posix=True, punctuation_chars="&|;"))
        except ValueError:
            continue  # a line of prose with an apostrophe
        words = shlex.split(line, comments=True) if "advcam" in words else []
        for command in _split(words):
            if command[:1] == ["advcam"]:
                yield command[1:]
            elif command[:2] == ["docker", "run"] and "advcam" in command:
                yield command[command.index("advcam") + 1 :]
            elif "-m" in command and command[command.index("-m") + 1 :][:1] == ["advcam"]:
                yield command[command.index("-m") + 2 :]


def inline_commands(text: str) -> Iterator[list[str]]:
    """Words of every command in backquotes within the text: often only its beginning."""
    for match in re.finditer(r"`advcam ([^`]+)`", _BLOCK.sub("", text)):
        yield shlex.split(match[1])


def prose(text: str) -> str:
    """A page without code and comments, where alone links are links."""
    return re.sub(r"`[^`\n]*`", "", _COMMENT.sub("", _BLOCK.sub("", text)))


def links(text: str) -> list[str]:
    """Targets of all links and pictures of a page."""
    body = prose(text)
    return [match["target"] for pattern in (_LINK, _HTML_LINK) for match in pattern.finditer(body)]


def anchors(text: str) -> set[str]:
    """The anchors of a page: of its headings, as GitHub and mkdocs both make them, and those that it sets itself."""
    body = _COMMENT.sub("", _BLOCK.sub("", text))
    slugs: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *$", body, re.M):
        plain = re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain.lower().encode("ascii", "ignore").decode()).strip())
        slugs.append(slug + (f"_{slugs.count(slug)}" if slug in slugs else ""))
    return {*slugs, *re.findall(r"\b(?:id|name)=\"([^\"]+)\"", body)}


def _split(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in words:
        if word in ("&&", "||", "|", ";", ">"):
            yield command
            command = []
        else:
            command.append(word)
    yield command
