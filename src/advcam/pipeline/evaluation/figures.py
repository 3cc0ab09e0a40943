"""Write the figures of an evaluation: curves, classes, faithfulness, and the worst and the best pictures.

All figures are drawn before the first is written: where a picture is missing, the folder stays as it was.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from advcam.errors import RunError, counted
from advcam.pipeline.evaluation.examples import examples
from advcam.pipeline.evaluation.result import EvaluateSettings, Evaluation, Row
from advcam.report.evaluation_figures import (
    Bars,
    ClassScores,
    Mark,
    ScoreCurves,
    classes_figure,
    curves_figure,
    faithfulness_figure,
    pictures_figure,
)
from advcam.report.plotting import FileFormat, render
from advcam.store.files import replacing

FIGURES = ("curves", "classes", "pictures", "faithfulness")
_FORMATS: tuple[FileFormat, ...] = ("png", "pdf")
_NAMES = {
    "miou": "mIoU",
    "precision": "foreground precision",
    "recall": "foreground recall",
    "max_box_acc_v2": "MaxBoxAccV2",
    "pxap": "PxAP",
}


def write_figures(result: Evaluation, settings: EvaluateSettings, out: Path) -> list[Path]:
    """Write the figures as PNG and PDF; those of an earlier evaluation that are not drawn any more are removed.

    Args:
        result: Of `evaluate`.
        settings: Those it was asked with: the pictures and predictions that are shown are read again.
        out: Folder for the files.

    Returns:
        What was written. A figure that has nothing to show is not.

    Raises:
        AdvcamError: A picture, its truth or its prediction cannot be read any more; the message names it.
        RunError: The folder cannot be written.
    """
    figures = evaluation_figures(result, settings)
    contents = {out / f"{name}.{kind}": render(figures[name], kind) for name in figures for kind in _FORMATS}
    for path, content in contents.items():
        with replacing(path) as file:
            file.write(content)
    for path in {out / f"{name}.{kind}" for name in FIGURES for kind in _FORMATS} - contents.keys():
        _remove(path)
    return list(contents)


def evaluation_figures(result: Evaluation, settings: EvaluateSettings) -> dict[str, Figure]:
    """The figures by name; one that has nothing to show is absent.

    Raises:
        AdvcamError: As `write_figures`.
    """
    figures = {}
    if result.curves:
        figures["curves"] = curves_figure(_curves(result))
    values = {str(one["name"]): 100 * float(one["iou"]) for one in result.classes if _known(one["iou"])}
    if values:
        title = f"{_title(result)}\nIoU of each class{_at_threshold(result, settings)}"
        figures["classes"] = classes_figure(ClassScores(title, values, background="background"))
    groups = examples(result, settings)
    if groups:
        hits = "; hit: IoU of at least 50 %" if result.task == "localization" else ""
        figures["pictures"] = pictures_figure(f"{_title(result)}{_at_threshold(result, settings)}{hits}", groups)
    if result.task == "faithfulness":
        figures["faithfulness"] = faithfulness_figure(_title(result), _measures(result))
    return figures


def _title(result: Evaluation) -> str:
    return f"{result.dataset}, split {result.split}, {counted(result.pictures, 'picture')}"


def _at_threshold(result: Evaluation, settings: EvaluateSettings) -> str:
    """What was shown and scored picture by picture; finished masks and boxes have no threshold."""
    return f", maps at the fixed threshold {settings.threshold:g}" if result.thresholds else ""


def _curves(result: Evaluation) -> ScoreCurves:
    lines = {_NAMES.get(name, name): 100 * np.array(values) for name, values in result.curves.items()}
    x = np.array(result.thresholds)
    marks = [mark for row in result.rows if row.name == "predictions" for mark in _marks(row, result)]
    title, levels = _title(result), _levels(result)
    if result.task == "pxap":
        shown = x > 0  # at recall 0 no pixel has so high a score, and precision is not defined
        lines = {name: values[shown] for name, values in lines.items()}
        return ScoreCurves(title, "recall (%)", 100 * x[shown], 100, "precision (%)", lines, marks, levels)
    if result.task == "localization":
        lines = {"mean of the three IoUs": np.mean(list(lines.values()), axis=0)} | lines
        return ScoreCurves(title, "threshold", x, 1, "BoxAcc (%)", lines, marks, levels)
    return ScoreCurves(title, "threshold", x, 1, "score (%)", lines, marks, levels)


def _marks(row: Row, result: Evaluation) -> Iterator[Mark]:
    """The flag of a row: its word, and its score where the headline curve passes."""
    if row.threshold is None:
        return
    score, name = row.scores.get(result.headline, math.nan), ""
    if result.task == "localization" and row.supervision == "oracle":
        # MaxBoxAccV2 has a threshold for each IoU; the row's threshold is the best for GT-known.
        score, name = row.scores.get("gt_known", math.nan), "GT-known "
    words = f"{row.supervision} {row.threshold:.3g}"
    yield Mark(row.threshold, f"{words}: {name}{100 * score:.1f} %" if _known(score) else words)


def _levels(result: Evaluation) -> dict[str, float]:
    """Best score of each floor; of the predictions too, where their headline has no curve of its own."""
    curved = result.headline in result.curves
    known = [row for row in result.rows if _known(row.scores.get(result.headline, math.nan))]
    shown = [row for row in known if not (curved and row.name == "predictions")]
    best: dict[str, Row] = {}
    for row in sorted(shown, key=lambda row: row.scores[result.headline]):
        best[row.name] = row
    return {_level_name(best[row.name], result.headline): 100 * best[row.name].scores[result.headline] for row in shown}


def _level_name(row: Row, headline: str) -> str:
    word = "" if row.supervision == "none" else f", {row.supervision}"
    return f"{row.name}{word}: {_NAMES.get(headline, headline)} {100 * row.scores[headline]:.1f} %"


def _measures(result: Evaluation) -> list[Bars]:
    """Insertion, the first score of a row, has an interval; deletion has none."""
    insertion = {row.name: 100 * row.scores["insertion"] for row in result.rows}
    deletion = {row.name: 100 * row.scores["deletion"] for row in result.rows}
    ends = {row.name: (100 * row.low, 100 * row.high) for row in result.rows if _known(row.low)}
    return [
        Bars("insertion (higher is better), 95 % interval", insertion, ends),
        Bars("deletion (lower is better)", deletion, {}),
    ]


def _known(value: float | str) -> bool:
    return math.isfinite(float(value))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot remove {path}, which shows an earlier evaluation ({error.strerror}); delete it"
        ) from error
