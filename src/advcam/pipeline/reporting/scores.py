"""What evaluations found, as sections of a report: score tables, curves over thresholds, classes, confusions.

Every number is one of evaluation.json; nothing is scored here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from advcam.errors import counted
from advcam.pipeline.chain.scoring import HEADLINES, of_masks, shown_scores
from advcam.pipeline.evaluation.result import Evaluation, Row
from advcam.report.sections import (
    Choice,
    ClassRow,
    ClassSection,
    ConfusionSection,
    CurveSection,
    ScoreRow,
    ScoreTable,
)

#: Word for the supervision of finished masks, which have no threshold.
MASKS = "masks"
#: What chose the threshold of a score, in a few words.
_IN_SHORT = {
    "oracle": "at the best threshold in hindsight",
    "validated": "at the best threshold of other pictures",
    "fixed": "at a threshold set beforehand",
    "label-free": "at a threshold chosen without truth",
}


@dataclass(frozen=True)
class Scored:
    """The evaluations of one set of pictures.

    Args:
        title: Which pictures.
        results: By the name of the stage that made the maps or masks, in the order of the stages.
        meanings: What a stage is, for people who do not know its name.
    """

    title: str
    results: Mapping[str, Evaluation]
    meanings: Mapping[str, str] = field(default_factory=dict)

    def called(self, stage: str) -> str:
        """A stage with what it is: "baseline (CAM)"."""
        return f"{stage} ({self.meanings[stage]})" if stage in self.meanings else stage


def own_rows(result: Evaluation) -> list[Row]:
    """The rows of a table that are not those of a floor."""
    return [row for row in result.rows if row.name == "predictions"]


def kind_of(result: Evaluation, row: Row) -> str:
    """What chose the threshold of a row, in one word."""
    return MASKS if of_masks(result.predictions) else row.supervision


def score_name(name: str) -> str:
    """A score as the field writes it."""
    return HEADLINES.get(name, name)


def score_tables(scored: Scored) -> list[ScoreTable]:
    """A table for each score, the headline first; floors (what a map without knowledge reaches) stand last."""
    results = scored.results
    if not results:
        return []
    first = next(iter(results.values()))
    names = shown_scores(first.headline, own_rows(first)[0].scores)
    tables = []
    for name in names:
        rows = [_score_row(scored.called(stage), result, name) for stage, result in results.items()]
        rows += _floors(results, name) if name == names[0] else []
        if any(row.scores for row in rows):
            tables.append(ScoreTable(f"{score_name(name)} of {scored.title}", rows))
    return tables


def _score_row(stage: str, result: Evaluation, name: str) -> ScoreRow:
    rows = {kind_of(result, row): row for row in own_rows(result) if math.isfinite(row.scores.get(name, math.nan))}
    known = {kind: row for kind, row in rows.items() if name == result.headline and math.isfinite(row.low)}
    return ScoreRow(
        stage,
        {kind: row.scores[name] for kind, row in rows.items()},
        {kind: (row.low, row.high) for kind, row in known.items()},
    )


def _floors(results: Mapping[str, Evaluation], name: str) -> list[ScoreRow]:
    """What no method should stay below: the same of all stages, for they know nothing of the maps."""
    found: dict[str, ScoreRow] = {}
    for result in results.values():
        for row in result.rows:
            if row.name != "predictions" and math.isfinite(row.scores.get(name, math.nan)):
                kind = row.supervision if row.supervision != "none" else MASKS
                found.setdefault(row.name, ScoreRow(f"floor: {row.name}", {kind: row.scores[name]}, floor=True))
    return list(found.values())


def curve_section(scored: Scored) -> list[CurveSection]:
    """The headline over the thresholds of all stages that have maps; empty where none has."""
    with_curves = {scored.called(stage): _curve(result) for stage, result in scored.results.items()}
    lines = {stage: curve for stage, curve in with_curves.items() if curve is not None}
    if not lines:
        return []
    headline = next(iter(scored.results.values())).headline
    choices = [one for stage, result in scored.results.items() for one in _choices(scored.called(stage), result)]
    return [CurveSection(scored.title, score_name(headline), lines, [one for one in choices if one.line in lines])]


def _curve(result: Evaluation) -> tuple[list[float], list[float]] | None:
    """Thresholds and headline; of boxes the mean over the IoUs, of PxAP, whose axis is another, nothing."""
    if result.task == "segmentation" and result.headline in result.curves:
        return result.thresholds, result.curves[result.headline]
    if result.task == "localization" and result.curves:
        columns = zip(*result.curves.values(), strict=True)
        return result.thresholds, [sum(column) / len(column) for column in columns]
    return None


def _choices(stage: str, result: Evaluation) -> list[Choice]:
    """The thresholds that were chosen; the oracle of boxes, which takes one for each IoU, is no point of the curve."""
    of_boxes = result.task == "localization"
    return [
        Choice(stage, row.supervision, row.detail, row.threshold, row.scores[result.headline])
        for row in own_rows(result)
        if row.threshold is not None and not (of_boxes and row.supervision == "oracle")
    ]


def class_section(scored: Scored, stage: str, before: str = "") -> list[ClassSection]:
    """Scores of each class of a stage, with the IoU of another one beside it; empty where there are none."""
    result = scored.results.get(stage)
    if result is None or not result.classes:
        return []
    other = scored.results.get(before) if before != stage else None
    beside = {str(one["name"]): float(one["iou"]) for one in other.classes} if other else {}
    rows = [
        ClassRow(
            str(one["name"]),
            float(one["iou"]),
            float(one["precision"]),
            float(one["recall"]),
            beside.get(str(one["name"])),
        )
        for one in result.classes
        if math.isfinite(float(one["iou"]))
    ]
    title = f"{scored.called(stage)}, {counted(result.pictures, 'picture')} of {scored.title}"
    return [ClassSection(title, rows, f"{scored.called(before)}, fixed threshold" if beside else "")] if rows else []


def confusion_section(scored: Scored, stage: str) -> list[ConfusionSection]:
    """Which class was taken for which; empty where that was not kept, or where there is but one class."""
    result = scored.results.get(stage)
    if result is None or not result.confusion or len(result.classes) < 2:
        return []
    names = [str(one["name"]) for one in result.classes]
    pixels = [[0] * len(names) for _ in names]
    for true, claimed, count in result.confusion:
        pixels[true][claimed] = count
    title = f"{scored.called(stage)}, {counted(result.pictures, 'picture')} of {scored.title}"
    return [ConfusionSection(title, names, pixels)]


def tile(scored: Scored, stage: str, words: str) -> list[tuple[str, str]]:
    """The headline of a stage with its interval, for the top of a page; empty where it was not scored."""
    result = scored.results.get(stage)
    if result is None:
        return []
    row = own_rows(result)[0]
    score = row.scores[result.headline]
    if not math.isfinite(score):
        return []
    interval = f" (95 %: {100 * row.low:.1f} – {100 * row.high:.1f})" if math.isfinite(row.low) else ""
    chosen = f", {_IN_SHORT[row.supervision]}" if row.supervision in _IN_SHORT else ""
    on = f"{counted(result.pictures, 'picture')} of {scored.title}"
    return [(f"{100 * score:.1f} %", f"{score_name(result.headline)} of {words} on {on}{interval}{chosen}")]


def picture_words(result: Evaluation, id_: str) -> str:
    """The score of one picture: "mIoU 46.7 %", "hit" or "missed"; "" where it has none."""
    score = result.picture_scores.get(id_, math.nan)
    if not math.isfinite(score):
        return ""
    if result.task == "localization":
        return "box: hit" if score else "box: missed"
    return f"{score_name(result.headline)} {100 * score:.1f} %"


def merged_notes(scored: Sequence[Scored]) -> list[str]:
    """What the evaluations say beside their numbers, each once, with the stages that it is about."""
    notes: dict[str, list[str]] = {}
    for group in scored:
        for stage, result in group.results.items():
            for note in result.notes:
                notes.setdefault(note, []).append(stage)
    return [f"{note} ({', '.join(stages)})" for note, stages in notes.items()]
