"""`advcam evaluate`: the table in which every score names the supervision behind its threshold."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from advcam.cli.engines import Engines, opened
from advcam.cli.folders import LocalPath
from advcam.errors import SettingError, counted

if TYPE_CHECKING:
    from advcam.pipeline.evaluation.result import Evaluation, Row

_TITLES = {
    "miou": "mIoU",
    "boundary_iou": "boundary\nIoU",
    "precision": "prec.",
    "recall": "recall",
    "pixel_accuracy": "pixel\nacc.",
    "max_box_acc_v2": "MaxBox\nAccV2",
    "gt_known": "GT-known",
    "top1_loc": "Top-1\nLoc",
    "top5_loc": "Top-5\nLoc",
    "pxap": "PxAP",
}


def evaluate(
    predictions: Path,
    *,
    data: Path,
    split: str,
    layout: str | None = None,
    protocol: Literal["segmentation", "localization", "pxap", "faithfulness"] | None = None,
    groups: Path | None = None,
    threshold: float | None = None,
    labelled: int = 0,
    labelled_split: str | None = None,
    labelled_predictions: Path | None = None,
    missing: Literal["error", "intersection"] = "error",
    top_classes: Path | None = None,
    model: str | None = None,
    weights: Path | None = None,
    class_names: Path | None = None,
    out: LocalPath | None = None,
    seed: int = 0,
    engines: Engines | None = None,
    quiet: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Score maps, masks or boxes, yours or anybody's, against a data set; each threshold says what chose it.

    Args:
        predictions: A run of advcam, a folder of .npy score maps or of .png masks, or COCO results (.json).
        data: Root folder of the data set.
        split: Such as val; see `advcam data check`.
        layout: See `advcam data layouts`; found out when left away.
        protocol: Left away: masks where there are true masks, else boxes.
        groups: JSON: for each class of the data set the classifier's classes that mean it.
        threshold: The fixed one, 0 to 1 (0.3).
        labelled: So many pictures choose the validated threshold and are left out of all scores.
        labelled_split: In place of them, a split of its own whose pictures choose it, such as val for test in WSOL.
        labelled_predictions: The maps of that split, where they are not among the predictions.
        missing: Where pictures are not predicted: stop, or score the others.
        top_classes: CSV image,labels of predicted classes, best first, for Top-1 and Top-5 Loc.
        model: The classifier, for faithfulness and Top-k (see `advcam models`).
        weights: Its weights file.
        class_names: Its class names, one a line.
        out: Folder for evaluation.json and the figures.
        seed: Of the labelled pictures, chance maps and intervals.
        engines: Who works on the pictures.
        quiet: No progress and no table.
        json_: Print the result as JSON.
    """
    from advcam.pipeline.evaluation.evaluate import as_json, write_evaluation
    from advcam.pipeline.evaluation.evaluate import evaluate as run_evaluate
    from advcam.pipeline.evaluation.result import evaluate_settings

    if model is None and (weights or class_names):
        raise SettingError("--weights and --class-names belong to a classifier; name it with --model")
    network = {"model": model, "weights": weights, "class_names": class_names} if model else None
    given = {"threshold": threshold} if threshold is not None else {}
    settings = evaluate_settings(
        predictions=predictions,
        data=data,
        split=split,
        layout=layout,
        protocol=protocol,
        groups=groups,
        labelled=labelled,
        labelled_split=labelled_split,
        labelled_predictions=labelled_predictions,
        missing=missing,
        top_classes=top_classes,
        model=network,
        seed=seed,
        **given,
    )
    _check_out(out, predictions)
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with opened(engines, settings.model.device if settings.model else "cpu") as engine, Bar(console, quiet) as bar:
        result = run_evaluate(settings, bar, engine)
    if out is not None:
        from advcam.pipeline.evaluation.figures import write_figures

        write_figures(result, settings, out)  # the first: what it cannot read leaves the folder as it was
        write_evaluation(result, out)
    if json_:
        sys.stdout.write(as_json(result) + "\n")
    elif not quiet:
        say(result, Console(highlight=False, markup=False, emoji=False))
        if out is not None:
            console.print(f"figures and evaluation.json in {out}", soft_wrap=True)
    return 0


def _check_out(out: Path | None, predictions: Path) -> None:
    """Refuse before the work what could not be written, or would be read as predictions the next time."""
    from advcam.pipeline.evaluation.predictions import is_run

    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise SettingError(f"{out} is a file; choose another --out, an evaluation takes a folder")
    below = predictions.resolve() in (out.resolve(), *out.resolve().parents)
    if below and not is_run(predictions):
        raise SettingError(f"{out} is among the predictions, which are read again; choose another --out")


class Bar:
    """A progress bar on a terminal, else nothing."""

    def __init__(self, console: Console, quiet: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)

    def __enter__(self) -> "Bar":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def start(self, words: str, total: int) -> None:
        """A new stage."""
        self.task = self.progress.add_task(words, total=total)

    def step(self) -> None:
        """One picture."""
        self.progress.advance(self.task)


def say(result: "Evaluation", console: Console) -> None:
    """The table and the notes."""
    console.print(
        f"{result.task} on {result.dataset}, split {result.split}: {counted(result.pictures, 'picture')}",
        soft_wrap=True,
    )
    console.print(f"predictions: {result.predictions}", soft_wrap=True)
    names = list(dict.fromkeys(name for row in result.rows for name in row.scores))
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("", "threshold"):
        table.add_column(title, no_wrap=True)
    for title in (*(_TITLES.get(name, name.replace("_", "\n")) for name in names), "95 %"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in result.rows:
        table.add_row(*_cells(row, names))
    console.print(table)
    for detail in dict.fromkeys(f"{row.supervision}: {row.detail}" for row in result.rows if row.threshold is not None):
        console.print(f"  {detail}", soft_wrap=True)
    for note in result.notes:
        console.print(f"  note: {note}", soft_wrap=True)


def _cells(row: "Row", names: list[str]) -> list[str]:
    """A row as text; what is not defined stays empty."""
    scores = {name: f"{100 * score:.1f}" for name, score in row.scores.items() if score == score}  # not NaN
    interval = f"{100 * row.low:.1f}-{100 * row.high:.1f}" if row.low == row.low else ""
    threshold = row.supervision if row.threshold is None else f"{row.supervision} {row.threshold:.3g}"
    return [row.name, threshold, *(scores.get(name, "") for name in names), interval]
