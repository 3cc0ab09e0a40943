"""`advcam export`: masks and objects of a run for another tool. `import`: corrected masks back. `formats`: which."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from advcam.cli.evaluate import Bar
from advcam.cli.folders import LocalPath
from advcam.errors import counted, printable

if TYPE_CHECKING:
    from advcam.pipeline.exporting import ExportSummary
    from advcam.pipeline.importing import ImportSummary

_OK, _LEFT_OUT = 0, 1
_NAMED = 10  # reasons or pictures that are named on the terminal


def export(
    run: Path,
    *,
    format_: Annotated[str, Parameter("--format")],
    out: LocalPath,
    only: Literal["all", "accepted"] = "all",
    quiet: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Masks and objects of a run in the format of another tool: corrected masks first, rejected pictures left out.

    Exit code 1 where a picture could not be exported; not for those that the run itself had skipped.

    Args:
        run: Folder of localize, run, segment, refine or predict.
        format_: See `advcam formats`.
        out: A new or empty folder; an earlier export in it that nobody has changed is replaced.
        only: all that are not rejected, or accepted: those that somebody accepted or corrected.
        quiet: No progress.
        json_: Print the summary as JSON.
    """
    from dataclasses import asdict

    from advcam.pipeline.album import open_album
    from advcam.pipeline.exporting import export_run

    console = _console()
    with Bar(console, quiet) as watch:
        summary = export_run(open_album(run), format_, out, only, watch)
    if not quiet:
        _say_export(summary, out, console)
    if json_:
        sys.stdout.write(json.dumps(asdict(summary), ensure_ascii=False) + "\n")
    return _LEFT_OUT if summary.skipped else _OK


def import_(
    folder: Path,
    *,
    format_: Annotated[str, Parameter("--format")],
    run: Path,
    quiet: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Masks that were changed in another tool back into their run, as its corrected masks.

    Those that are as the run has them change nothing. Exit code 1 where a mask belongs to no picture of the run.

    Args:
        folder: What the tool has written: an export that was worked on, or what the tool exports; a folder or a file.
        format_: See `advcam formats`.
        run: Folder of the run that the masks are of.
        quiet: No progress.
        json_: Print the summary as JSON.
    """
    from dataclasses import asdict

    from advcam.pipeline.album import open_album
    from advcam.pipeline.importing import import_masks

    console = _console()
    with Bar(console, quiet) as watch:
        summary = import_masks(format_, folder, open_album(run), watch)
    if not quiet:
        _say_import(summary, console)
    if json_:
        sys.stdout.write(json.dumps(asdict(summary), ensure_ascii=False) + "\n")
    return _LEFT_OUT if summary.unknown else _OK


def formats(*, json_: Annotated[bool, Parameter("--json")] = False) -> int:
    """Formats by name, and what opens them.

    Args:
        json_: Print a JSON list of names.
    """
    from advcam.export.catalogue import describe_formats

    rows = describe_formats()
    if json_:
        sys.stdout.write(json.dumps([name for name, *_ in rows]) + "\n")
    else:
        sys.stdout.write("\n".join(f"{name:15}{title:28}{summary}" for name, title, summary in rows) + "\n")
    return _OK


def _console() -> Console:
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def _say_export(summary: "ExportSummary", out: Path, console: Console) -> None:
    left_out = [f"{summary.rejected:,} rejected"] if summary.rejected else []
    left_out += [f"{summary.unreviewed:,} neither accepted nor corrected"] if summary.unreviewed else []
    left_out += [f"{len(summary.unmade):,} that the run had skipped"] if summary.unmade else []
    left_out += [f"{len(summary.skipped):,} that could not be exported"] if summary.skipped else []
    for reason, ids in list(_by_reason(summary).items())[:_NAMED]:
        named = ", ".join(ids[:3]) + (f" and {len(ids) - 3:,} more" if len(ids) > 3 else "")
        console.print(f"left out  {printable(f'{named}: {reason}')}", soft_wrap=True)
    if len(_by_reason(summary)) > _NAMED:
        console.print("          and others, see advcam-export.json", soft_wrap=True)
    words = f"{counted(summary.pictures, 'picture')} as {summary.format} in {summary.seconds:g} s"
    words += f", {summary.corrected:,} of them corrected" if summary.corrected else ""
    words += f"; left out: {', '.join(left_out)}" if left_out else ""
    console.print(f"done      {words}", soft_wrap=True)
    console.print(f"look into {out}", soft_wrap=True)


def _by_reason(summary: "ExportSummary") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id_, reason in (*summary.skipped, *summary.unmade):
        found.setdefault(reason, []).append(id_)
    return found


def _say_import(summary: "ImportSummary", console: Console) -> None:
    for name in summary.unknown[:_NAMED]:
        console.print(f"unknown   {printable(name)}: the run has no such picture", soft_wrap=True)
    if len(summary.unknown) > _NAMED:
        console.print(f"          and {len(summary.unknown) - _NAMED:,} more", soft_wrap=True)
    words = f"{counted(len(summary.corrected), 'mask')} corrected, {summary.unchanged:,} unchanged"
    words += f"; {len(summary.replaced):,} of them in the place of earlier corrections" if summary.replaced else ""
    words += f", {counted(len(summary.unknown), 'picture')} unknown" if summary.unknown else ""
    console.print(f"done      {words}", soft_wrap=True)
