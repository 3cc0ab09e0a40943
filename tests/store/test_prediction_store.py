"""The store of predictions: rows come back as they were, and other programs can read them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.errors import RunError
from advcam.store.maps import MapStore
from advcam.store.predictions import ClassArea, PredictionStore, StoredPrediction, mask_digest
from advcam.types import Box

SHARES = st.floats(0, 1).map(lambda value: round(value, 4))
SIDES = st.integers(0, 2**31 - 1)
AREAS = st.builds(ClassArea, st.integers(0, 2000), st.integers(1, 2**40), SHARES, SHARES)
BOXES = st.builds(Box, st.integers(0, 2000), SIDES, SIDES, SIDES, SIDES, SHARES)
ROWS = st.builds(
    StoredPrediction,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.integers(-1, 2**62),
    st.none() | st.lists(st.integers(0, 2000), max_size=3).map(tuple),
    st.tuples(SIDES, SIDES),
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.lists(AREAS, max_size=3).map(tuple),
    st.lists(BOXES, max_size=3).map(tuple),
)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=12, unique_by=lambda row: row.sample_id))
def test_rows_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, rows: list[StoredPrediction]):
    store = PredictionStore(tmp_path_factory.mktemp("records"))
    store.write(rows, 0, len(rows) - 1)
    assert list(store) == rows
    index = store.index()
    assert all(index.holds(row.sample_id, row.file_bytes, row.class_ids) for row in rows)


def test_no_classes_are_not_all_classes(tmp_path: Path):
    store = PredictionStore(tmp_path)
    store.write([StoredPrediction("a.png", 5, (), (4, 6), "0", (), ())], 0, 0)
    assert store.get("a.png").class_ids == ()
    assert store.index().holds("a.png", 5, ())
    assert not store.index().holds("a.png", 5, None)


def test_columns_are_as_documented(tmp_path: Path):
    row = StoredPrediction("a.png", 5, (1,), (4, 6), "0f", (ClassArea(1, 7, 0.25, 0.5),), (Box(1, 0, 1, 2, 3, 0.5),))
    PredictionStore(tmp_path).write([row], 0, 0)
    assert pq.read_table(tmp_path).to_pylist() == [
        {
            "sample_id": "a.png",
            "file_bytes": 5,
            "class_ids": [1],
            "image_height": 4,
            "image_width": 6,
            "mask": "0f",
            "classes": [{"class_id": 1, "pixels": 7, "share": 0.25, "confidence": 0.5}],
            "boxes": [{"class_id": 1, "x0": 0, "y0": 1, "x1": 2, "y1": 3, "score": 0.5}],
        }
    ]


def test_a_store_of_something_else(tmp_path: Path):
    PredictionStore(tmp_path).write([StoredPrediction("a.png", 5, None, (4, 6), "0", (), ())], 0, 0)
    with pytest.raises(RunError, match="has format unknown, but this version of advcam reads format 2"):
        list(MapStore(tmp_path))


def test_equal_digests_are_equal_masks():
    mask = np.zeros((3, 4), dtype=np.int32)
    assert mask_digest(mask) == mask_digest(mask.astype(np.uint8))
    others = [np.zeros((4, 3)), np.zeros((2, 6)), np.eye(3, 4), 256 * np.eye(3, 4)]
    assert len({mask_digest(other.astype(np.int32)) for other in (mask, *others)}) == 5
