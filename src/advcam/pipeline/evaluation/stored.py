"""evaluation.json, read again: what is null there, since it is not defined, is NaN."""

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from advcam.errors import RunError, one_line
from advcam.pipeline.evaluation.result import Evaluation, Row
from advcam.untrusted import read_json

#: Name of the file.
EVALUATION = "evaluation.json"


def read_evaluation(path: Path) -> Evaluation:
    """The result of an evaluation, of this version of advcam or of an earlier one, which kept less.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        content = read_json(path)
        known = {field.name for field in fields(Evaluation)}
        result = Evaluation(**{name: value for name, value in content.items() if name in known})
        result.rows = [_row(one) for one in result.rows]  # type: ignore[arg-type]
        result.thresholds = _numbers(result.thresholds)
        result.curves = {str(name): _numbers(values) for name, values in result.curves.items()}
        result.classes = [
            {name: str(value) if name == "name" else _number(value) for name, value in one.items()}
            for one in result.classes
        ]
        result.confusion = [_cell(cell, len(result.classes)) for cell in result.confusion]
        result.picture_scores = {str(id_): _number(score) for id_, score in result.picture_scores.items()}
        result.notes = [str(note) for note in result.notes]
        _check(result)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = "it is missing" if isinstance(error, FileNotFoundError) else one_line(error)
        raise RunError(f"{path} cannot be read as an evaluation ({reason}); evaluate again") from error
    return result


def _check(result: Evaluation) -> None:
    texts = (result.task, result.headline, result.dataset, result.layout, result.split, result.predictions)
    if not all(isinstance(text, str) for text in texts) or type(result.pictures) is not int:
        raise ValueError("names that are no text, or pictures that are no number")
    if any(len(values) != len(result.thresholds) for values in result.curves.values()):
        raise ValueError("curves of another length than the thresholds")
    if not any(row.name == "predictions" and result.headline in row.scores for row in result.rows):
        raise ValueError("no row of the predictions")


def _row(content: Mapping[str, Any]) -> Row:
    threshold = None if content["threshold"] is None else float(content["threshold"])
    scores = {str(name): _number(score) for name, score in content["scores"].items()}
    name, supervision, detail = (str(content[key]) for key in ("name", "supervision", "detail"))
    return Row(name, supervision, detail, threshold, scores, _number(content["low"]), _number(content["high"]))


def _cell(content: Any, count: int) -> tuple[int, int, int]:  # noqa: ANN401, whatever the file holds
    true, claimed, pixels = content
    if any(type(number) is not int for number in content) or not (0 <= true < count and 0 <= claimed < count):
        raise ValueError("a confusion of classes that are not there")
    return true, claimed, pixels


def _numbers(values: Any) -> list[float]:  # noqa: ANN401, whatever the file holds
    return [_number(value) for value in values]


def _number(value: Any) -> float:  # noqa: ANN401, whatever the file holds
    return math.nan if value is None else float(value)
