"""Class numbers of masks: VOC's order for few classes, order of appearance for many, never 255."""

import json
from pathlib import Path

import numpy as np
import pytest

from advcam.errors import RunError
from advcam.store.classes import ClassNumbers
from advcam.types import IGNORE


def test_few_classes_keep_their_order(tmp_path: Path):
    numbers = ClassNumbers(tmp_path / "classes.json", ["cat", "dog"])
    numbers.extend([1])
    assert numbers.mask(np.array([[0, 1, 2]])).tolist() == [[0, 1, 2]]
    entries = json.loads((tmp_path / "classes.json").read_text())
    assert [(e["number"], e["name"]) for e in entries] == [(0, "background"), (255, "ignore"), (1, "cat"), (2, "dog")]


def test_many_classes_are_numbered_as_they_come_and_stay(tmp_path: Path):
    names = [f"class {k}" for k in range(1000)]
    ClassNumbers(tmp_path / "classes.json", names).extend([900, 7])
    again = ClassNumbers(tmp_path / "classes.json", names)
    again.extend([7, 3])
    assert again.numbers == {900: 1, 7: 2, 3: 3}
    mask = again.mask(np.array([[0, 901, 8, 4]]))
    assert mask.tolist() == [[0, 1, 2, 3]]
    assert again.names_in(mask) == {1: "class 900", 2: "class 7", 3: "class 3"}


def test_no_class_gets_the_number_of_ignore(tmp_path: Path):
    numbers = ClassNumbers(tmp_path / "classes.json", [str(k) for k in range(1000)])
    numbers.extend(range(300))
    assert IGNORE not in numbers.numbers.values()
    assert numbers.numbers[254] == 256


def test_a_damaged_file_says_what_to_do(tmp_path: Path):
    (tmp_path / "classes.json").write_text("{")
    with pytest.raises(RunError, match=r"classes.json is damaged; delete the run's folder"):
        ClassNumbers(tmp_path / "classes.json", [str(k) for k in range(1000)])
