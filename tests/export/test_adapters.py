"""supervision's detections and FiftyOne's samples."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import supervision as sv
from annotated_pictures import CLASSES, annotated, label_masks, scene
from hypothesis import given, settings

from advcam.errors import SettingError
from advcam.export.adapters import (
    fiftyone_targets,
    from_fiftyone,
    from_supervision,
    to_fiftyone,
    to_supervision,
)
from advcam.export.annotated import AnnotatedPicture
from advcam.types import Instance


def overlapping():
    """A sure dog over a doubtful cat."""
    cat = Instance(0, np.array([[1, 1, 1, 0], [1, 1, 1, 0]], dtype=bool), 0.25)
    dog = Instance(1, np.array([[0, 0, 1, 1], [0, 0, 0, 0]], dtype=bool), 0.75)
    return AnnotatedPicture(
        "a.png", "a", None, np.array([[1, 1, 2, 2], [1, 1, 1, 255]], dtype=np.int32), (cat, dog), (1, 2)
    )


class TestSupervision:
    def test_objects(self):
        found = to_supervision(overlapping(), CLASSES)
        assert isinstance(found, sv.Detections)
        assert found.xyxy.tolist() == [[0, 0, 3, 2], [2, 0, 4, 1]]
        assert found.mask.tolist() == [one.mask.tolist() for one in overlapping().objects]
        assert found.class_id.tolist() == [0, 1]
        assert found.confidence.tolist() == [0.25, 0.75]
        assert found["class_name"].tolist() == ["cat", "dog's & <friends>"]

    def test_supervision_agrees_about_boxes_and_areas(self, tmp_path):
        picture = annotated(scene(), tmp_path)
        found = to_supervision(picture, CLASSES)
        last = sv.mask_to_xyxy(found.mask)  # their last column and row belong to the box
        assert (found.xyxy == last + np.array([0, 0, 1, 1])).all()
        assert found.area.tolist() == [one.mask.sum() for one in picture.objects]

    def test_the_surer_one_lies_above(self):
        found = from_supervision(to_supervision(overlapping(), CLASSES), "a", (2, 4), CLASSES)
        assert found.mask.tolist() == [[1, 1, 2, 2], [1, 1, 1, 0]]
        assert (found.name, found.names) == ("a", {1: "cat", 2: "dog's & <friends>"})

    @settings(max_examples=50, deadline=None)
    @given(mask=label_masks(numbers=(0, 1, 2, 3)))
    def test_masks_come_back(self, mask, tmp_path_factory):
        picture = annotated(mask, tmp_path_factory.getbasetemp())
        found = from_supervision(to_supervision(picture, CLASSES), "a", picture.size, CLASSES)
        assert (found.mask == mask).all()

    def test_a_picture_without_objects(self, tmp_path):
        found = to_supervision(annotated(np.zeros((3, 4)), tmp_path), CLASSES)
        assert len(found) == 0
        assert from_supervision(found, "a", (3, 4), CLASSES).mask.tolist() == [[0] * 4] * 3

    @pytest.mark.parametrize(
        ("more", "size", "words"),
        [
            ({"class_id": np.array([0])}, (2, 2), "of a have no masks of height 2 and width 2; give them masks"),
            ({"class_id": np.array([0]), "mask": np.ones((1, 2, 2), bool)}, (2, 3), "no masks of height 2 and width 3"),
            (
                {"class_id": np.array([9]), "mask": np.ones((1, 2, 2), bool)},
                (2, 2),
                r"have the classes \[10\], which are not",
            ),
            (
                {"mask": np.ones((1, 2, 2), bool)},
                (2, 2),
                "detections of a have no classes; number them as the run does, less one",
            ),
        ],
    )
    def test_detections_that_make_no_mask(self, more, size, words):
        detections = sv.Detections(xyxy=np.array([[0, 0, 1, 1]], dtype=float), **more)
        with pytest.raises(SettingError, match=words):
            from_supervision(detections, "a", size, CLASSES)


class Recorded(SimpleNamespace):
    """A stand-in for the documents of FiftyOne, which are made with keywords and read by name."""

    has_mask = True

    def has_field(self, name):
        return name in vars(self)

    def __getitem__(self, name):
        return getattr(self, name)

    def get_mask(self):
        return self.mask


@pytest.fixture
def fiftyone(monkeypatch):
    kinds = ("Sample", "Segmentation", "Detections", "Detection", "Classifications", "Classification")
    monkeypatch.setitem(sys.modules, "fiftyone", SimpleNamespace(**dict.fromkeys(kinds, Recorded)))


@pytest.mark.usefixtures("fiftyone")
class TestFiftyOne:
    def test_a_sample(self, tmp_path):
        picture = annotated([[0, 1, 1, 0], [0, 1, 255, 0]], tmp_path, "deep/a.png", labels=(1, 3))
        sample = to_fiftyone(picture, CLASSES)
        assert sample.filepath == str(tmp_path / "deep/a.png")
        assert sample.segmentation.mask.tolist() == picture.mask.tolist()
        assert sample.segmentation.mask.dtype == np.uint8
        assert [one.label for one in sample.image_labels.classifications] == ["cat", "鳥: yes"]
        (found,) = sample.objects.detections
        assert (found.label, found.confidence) == ("cat", 1.0)
        assert found.bounding_box == [0.25, 0, 0.5, 1]
        assert found.mask.tolist() == [[True, True], [True, False]]

    def test_masks_come_back(self, tmp_path):
        picture = annotated(scene(), tmp_path)
        found = from_fiftyone(to_fiftyone(picture, CLASSES), CLASSES)
        assert (found.mask == scene()).all()
        assert (found.name, found.names) == ("a.png", CLASSES)

    def test_many_classes(self, tmp_path):
        sample = to_fiftyone(annotated([[0, 300]], tmp_path), {300: "far"})
        assert sample.segmentation.mask.dtype == np.uint16
        assert from_fiftyone(sample, {300: "far"}).mask.tolist() == [[0, 300]]

    def test_a_sample_without_a_mask(self):
        for more in ({}, {"segmentation": None}, {"segmentation": Recorded(mask=np.zeros((2, 2, 3)))}):
            with pytest.raises(
                SettingError, match="the sample /a has no mask of numbers in the field 'segmentation'; name"
            ):
                from_fiftyone(Recorded(filepath="/a", **more), CLASSES)

    def test_the_legend(self):
        assert fiftyone_targets(CLASSES) == {**CLASSES, 255: "undecided"}


@pytest.mark.parametrize(("name", "adapt"), [("supervision", to_supervision), ("fiftyone", to_fiftyone)])
def test_what_is_not_installed_is_said(monkeypatch, name, adapt):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingError, match=f"{name} is not installed; run: pip install {name}"):
        adapt(overlapping(), CLASSES)
