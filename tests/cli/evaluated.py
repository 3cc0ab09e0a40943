"""A generated data set with predictions of several kinds, for the tests of `advcam evaluate`."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from advcam.cli.app import run
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.cub import write_cub200
from advcam.datasets.synthetic.writing import write_index_png

#: Pictures of the generated data set; every third is in test, so eight are in train.
PICTURES, SCORED = 12, 8


def write_all(root: Path) -> Path:
    """A data set, and predictions of its train split: blurred and moved masks as maps, moved masks, boxes."""
    write_cub200(root / "data", PICTURES)
    dataset, random, results = open_dataset(root / "data"), np.random.default_rng(0), []
    for sample in dataset.samples("train"):
        bird, (box,) = (dataset.mask(sample.id) > 0).astype(np.float32), dataset.boxes(sample.id)
        moved = np.roll(bird, random.integers(0, 12, 2), (0, 1))
        blurred = cv2.GaussianBlur(moved, (0, 0), 5)
        path = root / "maps" / f"{sample.id.removesuffix('.jpg')}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, blurred / blurred.max())
        write_index_png(root / "masks" / f"{sample.id}.png", moved.astype(np.uint8) * (box.class_id + 1))
        sides = [box.x0 + 3, box.y0, box.x1 - box.x0 - 3, box.y1 - box.y0]
        results.append({"image_id": sample.id, "category_id": box.class_id + 1, "bbox": sides, "score": 0.5})
    (root / "results.json").write_text(json.dumps(results))
    return root


def evaluate(made: Path, name: str, *more: str, split: str = "train") -> int:
    return run(["evaluate", str(made / name), "--data", str(made / "data"), "--split", split, *more])


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("advcam: ")
    return lines[0]
