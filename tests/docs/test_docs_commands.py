"""Every `advcam` command in the documentation is one that the program takes: options, their values, recipes."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from cyclopts import CycloptsError, MissingArgumentError
from documented import CODE_PAGES, blocks, command_lines, inline_commands, named

from advcam.cli.app import app
from advcam.errors import AdvcamError

#: Commands that read a recipe or settings of one: they are called, but for the work itself.
_OF_RECIPES = ("run", "train", "refine", "segment")


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands do nothing here, in a folder in which nothing is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("advcam.cli.run._chain", lambda *_: 0)


def refused(words: Sequence[str], beginning: bool = False) -> str | None:
    """What the command line says against a command; None where it is fine.

    Args:
        words: Behind `advcam`; COMMAND, RECIPE, N and the like in capitals stand for what a reader puts there.
        beginning: The words may be the beginning of a command only, as those that contain `...` are.
    """
    if words[0].isupper() or words[:2] == ["run", "RECIPE"]:
        return None
    beginning |= "..." in words
    try:
        command, bound, _ = app.parse_args(
            ["1" if word == "N" else word for word in words], exit_on_error=False, print_error=False
        )
        if words[0] in _OF_RECIPES and not {"--help", "..."} & {*words}:
            command(*bound.args, **bound.kwargs)
    except MissingArgumentError as error:
        return None if beginning else _one_line(error)
    except (AdvcamError, CycloptsError) as error:
        return _one_line(error)
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@pytest.mark.parametrize("page", CODE_PAGES, ids=named)
def test_commands_are_taken(page: Path) -> None:
    failures = [
        f"{block.where}: advcam {' '.join(words)}: {refused(words)}"
        for block in blocks(page)
        if block.language in ("bash", "text", "yaml")
        for words in command_lines(block.text)
        if refused(words)
    ]
    failures += [
        f"{named(page)}: `advcam {' '.join(words)}`: {refused(words, beginning=True)}"
        for words in inline_commands(page.read_text())
        if refused(words, beginning=True)
    ]
    assert failures == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["localize", "photos", "--treshold", "0.5", "--out", "run"], "treshold"),
        (["localise", "photos"], "localise"),
        (["localize", "photos", "--threshold", "high", "--out", "run"], "high"),
        (["localize", "photos", "--effort", "quick", "--out", "run"], "quick"),
        (["localize", "photos"], "out"),
        (["run", "folders", "--out", "run"], "folders"),
        (["run", "folder", "data.root=photos", "train.epoch=3", "--out", "run"], "epochs"),
        (["segment", "photos", "--masks", "run", "--out", "net", "corp=3"], "crop"),
    ],
)
def test_wrong_commands_are_refused(words: list[str], said: str) -> None:
    assert said in (refused(words) or "")


def test_the_beginning_of_a_command_is_enough_in_a_sentence() -> None:
    assert refused(["localize", "--labels", "predicted"], beginning=True) is None
    assert refused(["localize", "--label", "predicted"], beginning=True) is not None
    assert refused(["localize", "...", "--effort", "fast"]) is None
    assert refused(["size", "--pictures", "N"], beginning=True) is None


def test_commands_are_found() -> None:
    text = (
        "pip install . && advcam demo   # and look\n"
        "advcam localize a --labels b \\\n    --out c\n"
        "advcam localize ... --dry-run\n"
        "torchrun --nproc-per-node 4 -m advcam run tiny --out d\n"
        "docker build -t advcam .\n"
        "docker run --rm advcam methods\n"
        "the run's folder, advcam's own\n"
    )
    assert list(command_lines(text)) == [
        ["demo"],
        ["localize", "a", "--labels", "b", "--out", "c"],
        ["localize", "...", "--dry-run"],
        ["run", "tiny", "--out", "d"],
        ["methods"],
    ]
    assert list(inline_commands("Say `advcam verify run` or `advcam.CAM`.")) == [["verify", "run"]]
