"""`advcam report`: what a run found, in one file. `advcam compare`: runs side by side."""

from typing import Annotated

from cyclopts import Parameter, validators
from rich.console import Console

from advcam.cli.folders import LocalPath
from advcam.errors import printable

#: Pictures of a comparison.
_PICTURES = 12
_OK, _MISSING = 0, 1
_Count = Annotated[int | None, Parameter(validator=validators.Number(gte=0))]


def report(run: LocalPath, *, out: LocalPath | None = None, pictures: _Count = None, quiet: bool = False) -> int:
    """Write the report of a run: one HTML file that needs nothing else and that a stranger understands.

    Runs write one themselves; this one is of what lies in the run now, corrections and evaluations included. Exit code
    1 where something of the run is missing or damaged: it is named, here and at the top of the page.

    Args:
        run: Folder of run, segment, refine, train, localize or predict.
        out: The file; report.html in the run when left away.
        pictures: Most pictures in it; as many as the run was asked for when left away.
        quiet: Say nothing.
    """
    from advcam.pipeline.reporting.report import write_report

    written = write_report(run, out, pictures)
    if not quiet:
        for words in written.missing:
            _say(f"missing   {printable(words)}")
        _say(f"look at   {written.path}")
    return _MISSING if written.missing else _OK


def compare(*runs: LocalPath, out: LocalPath, pictures: _Count = None, quiet: bool = False) -> int:
    """Put runs side by side: settings that differ, scores, masks where they disagree most, time.

    Differences of scores are given only where the same pictures were scored.

    Args:
        runs: Folders of two runs or more; the others are compared with the first.
        out: The HTML file.
        pictures: Most pictures in it; 12 when left away.
        quiet: Say nothing.
    """
    from advcam.pipeline.reporting.comparison import compare as run_compare

    shared = run_compare(runs, out, _PICTURES if pictures is None else pictures)
    if not quiet:
        if not shared:
            _say("note      the runs share no picture by name, so their masks are not compared")
        _say(f"look at   {out}")
    return _OK


def _say(words: str) -> None:
    Console(stderr=True, highlight=False, markup=False, emoji=False).print(words, soft_wrap=True)
