"""classes.json of a run, as it is written and as it may come from elsewhere."""

import json
from pathlib import Path

import pytest

from advcam.errors import RunError
from advcam.store.class_file import ClassEntry, parse_classes, read_class_file
from advcam.store.classes import ClassNumbers

CAT = {"number": 1, "class_id": 0, "name": "cat"}


def test_what_a_run_writes_is_read(tmp_path: Path):
    names = [f"class {number}" for number in range(300)]
    ClassNumbers(tmp_path / "classes.json", names).extend([7, 299])
    assert read_class_file(tmp_path / "classes.json") == (
        ClassEntry(1, 7, "class 7"),
        ClassEntry(2, 299, "class 299"),
    )


@pytest.mark.parametrize(
    "content",
    [
        *(3, {}, [3], [CAT | {"number": 0}], [CAT | {"number": 255}], [CAT | {"number": 65536}]),
        *(
            [CAT | {"number": -1}],
            [CAT | {"number": 1.0}],
            [CAT | {"number": True}],
            [CAT | {"number": "1"}],
            [CAT | {"class_id": -1}],
        ),
        *([CAT | {"class_id": 10**6}], [CAT | {"class_id": float("inf")}], [CAT | {"name": 3}], [{"class_id": 0}]),
        *([CAT, CAT | {"number": 2}], [CAT, CAT | {"class_id": 1}]),
    ],
)
def test_what_is_no_such_file(content):
    with pytest.raises(ValueError):
        parse_classes(json.dumps(content).encode())


def test_a_class_that_the_classifier_has_not_is_damage(tmp_path: Path):
    (tmp_path / "classes.json").write_text(json.dumps([CAT | {"class_id": 300}]))
    with pytest.raises(RunError, match=r"classes\.json is damaged"):
        ClassNumbers(tmp_path / "classes.json", [str(number) for number in range(300)])
