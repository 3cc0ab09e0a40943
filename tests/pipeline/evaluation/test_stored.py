"""evaluation.json: what is written is read again, and what is damaged is said to be."""

import json
import math
from pathlib import Path

import pytest

from advcam.errors import RunError
from advcam.pipeline.evaluation.evaluate import write_evaluation
from advcam.pipeline.evaluation.result import Evaluation, Row
from advcam.pipeline.evaluation.stored import EVALUATION, read_evaluation

ROWS = [
    Row("predictions", "oracle", "best", 0.3, {"miou": 0.5, "recall": math.nan}, 0.4, 0.6),
    Row("predictions", "none", "masks", None, {"miou": 0.4}),
]
RESULT = Evaluation(
    "segmentation",
    "miou",
    "folders",
    "folders",
    "train",
    "run (maps)",
    2,
    ROWS,
    [0.0, 0.5],
    {"miou": [0.1, math.nan]},
    [{"name": "background", "iou": 0.5, "precision": 0.5, "recall": math.nan}],
    [(0, 0, 7)],
    {"a": 0.5, "b": math.nan},
    ["a note"],
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write_evaluation(RESULT, tmp_path)
    found = read_evaluation(path)
    assert path.name == EVALUATION
    assert repr(found) == repr(RESULT), "NaN included, which equals nothing"


def test_earlier_versions_kept_less_and_later_ones_more(tmp_path: Path) -> None:
    path = write_evaluation(RESULT, tmp_path)
    content = json.loads(path.read_text())
    del content["confusion"]
    path.write_text(json.dumps(content | {"later": 1}))
    assert read_evaluation(path).confusion == []


@pytest.mark.parametrize(
    "change",
    [
        {"rows": []},
        {"rows": [{"name": "predictions"}]},
        {"rows": 3},
        {"curves": {"miou": [0.1]}},
        {"confusion": [[0, 1, 7]]},
        {"confusion": [[0, 0]]},
        {"confusion": [[0, 0, 0.5]]},
        {"pictures": "many"},
        {"headline": None},
        {"picture_scores": {"a": "good"}},
    ],
)
def test_what_is_damaged_is_said_in_a_line(tmp_path: Path, change: dict[str, object]) -> None:
    path = write_evaluation(RESULT, tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RunError, match=r"cannot be read as an evaluation .*; evaluate again") as caught:
        read_evaluation(path)
    assert len(str(caught.value).splitlines()) == 1


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="it is missing"):
        read_evaluation(tmp_path / EVALUATION)
    (tmp_path / EVALUATION).write_text('{"task": ')
    with pytest.raises(RunError, match="cannot be read as an evaluation"):
        read_evaluation(tmp_path / EVALUATION)
    (tmp_path / EVALUATION).write_text("[]")
    with pytest.raises(RunError, match="cannot be read as an evaluation"):
        read_evaluation(tmp_path / EVALUATION)
