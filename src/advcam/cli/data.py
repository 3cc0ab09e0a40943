"""`advcam data`: what a data set on disk holds, and small generated ones in the same layouts."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from advcam.errors import counted

if TYPE_CHECKING:
    from advcam.datasets.check import Findings, SplitReport

data = App(name="data", help="Data sets on disk: check them, or generate small ones.")

OK, FOUND = 0, 1


@data.command
def check(
    root: Path,
    *,
    layout: str | None = None,
    decode: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """What was found, what is missing, what is broken, with counts per class and split. Exit code 1 if something is.

    Args:
        root: Root folder of the data set.
        layout: See `advcam data layouts`; found out when left away.
        decode: Decode every picture whole, not only its header (slow; finds truncated files).
        json_: Print the report as JSON.
    """
    from advcam.datasets.catalogue import open_dataset
    from advcam.datasets.check import check_dataset

    dataset = open_dataset(root, layout)
    reports = check_dataset(dataset, decode)
    fine = not any(report.problems.counts for report in reports.values())
    classes = max(len(report.classes) for report in reports.values())  # none where the file that names them is broken
    if json_:
        content: dict[str, object] = {"root": str(root), "layout": dataset.layout, "title": dataset.title}
        content |= {"classes": classes, "fine": fine}
        splits = {name: _as_json(report) for name, report in reports.items()}
        _print(json.dumps(content | {"splits": splits}, ensure_ascii=False))
    else:
        _print(f"{dataset.title} ({dataset.layout}) in {root}: {classes} classes")
        for name, report in reports.items():
            _print(_in_words(name, report))
        _print("nothing is missing or broken" if fine else "see what is missing or broken above")
    return OK if fine else FOUND


@data.command
def layouts() -> int:
    """Layouts that are read, and what they are told by."""
    from advcam.datasets.catalogue import describe_layouts

    _print("\n".join(f"{name:12}{title:52}{landmarks}".rstrip() for name, title, landmarks in describe_layouts()))
    _print("pets-species reads pets as cats and dogs; openimages30k is wsol with masks")
    return OK


@data.command
def generate(layout: str, root: Path, *, pictures: int = 12, seed: int = 0) -> int:
    """Write a small data set of drawn shapes in the exact layout of a public one, with true masks and boxes.

    Args:
        layout: See `advcam data layouts`.
        root: An empty or new folder.
        pictures: How many.
        seed: Decides what is drawn.
    """
    from advcam.datasets.synthetic.catalogue import write_dataset

    write_dataset(layout, root, pictures, seed)
    _print(
        f"{counted(pictures, 'picture')} in the layout {layout} in {root}; look at it with: advcam data check {root}"
    )
    return OK


def _as_json(report: "SplitReport") -> dict[str, object]:
    content = asdict(report)
    for kind in ("problems", "notes"):
        findings = getattr(report, kind)
        content[kind] = {name: {"count": n, "first": findings.named[name]} for name, n in findings.counts.items()}
    return content


def _in_words(name: str, report: "SplitReport") -> str:
    counts = f"{counted(report.pictures, 'picture')}, {report.labelled} with labels, {report.masks} with masks"
    lines = [f"  {name}: {counts}, {'1 box' if report.boxes == 1 else f'{report.boxes} boxes'} in {report.boxed}"]
    present = {label: count for label, count in report.classes.items() if count}
    if present:
        shown = ", ".join(f"{label} {count}" for label, count in list(present.items())[:40])
        more = f", and {len(present) - 40} more classes" if len(present) > 40 else ""
        lines.append(f"    {len(present)} classes: {shown}{more}")
    lines += _finding_lines("!!", report.problems) + _finding_lines("  ", report.notes)
    return "\n".join(lines)


def _finding_lines(mark: str, findings: "Findings") -> list[str]:
    lines = []
    for kind, count in findings.counts.items():
        more = "; .." if count > len(findings.named[kind]) else ""
        lines.append(f"    {mark} {kind} ({count}): {'; '.join(findings.named[kind])}{more}")
    return lines


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
