"""Generated COCO, ImageNet and WSOL data sets: what the loaders read is what was drawn."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from advcam.datasets.coco import COCO
from advcam.datasets.imagenet import ImageNet
from advcam.datasets.synthetic.coco import CATEGORIES, CROWD, coco_scenes, write_coco
from advcam.datasets.synthetic.imagenet import SYNSETS, imagenet_scenes, write_imagenet
from advcam.datasets.synthetic.wsol import CLASSES, ignored_instance, write_wsol, wsol_scenes
from advcam.datasets.wsol import WSOL
from advcam.errors import RunError


def files(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def crowds(scene):
    times = Counter(instance.class_id for instance in scene.instances)
    return {class_id for class_id, count in times.items() if count >= CROWD}


def check_picture(data, id_, scene):
    path = data.sample(id_).path
    with Image.open(path) as picture:
        assert (picture.size, picture.mode, picture.format) == (scene.picture.size, "RGB", "JPEG")
        difference = np.abs(np.asarray(picture, dtype=int) - np.asarray(scene.picture, dtype=int)).mean()
    flipped = np.abs(np.asarray(scene.picture, dtype=int) - np.asarray(scene.picture, dtype=int)[::-1]).mean()
    assert difference < flipped / 2


class TestCOCO:
    @pytest.mark.parametrize(("split", "name"), [("val2017", "000000000139"), ("val2014", "COCO_val2014_000000000139")])
    def test_round_trip(self, tmp_path, split, name):
        write_coco(tmp_path, pictures=12, seed=3, split=split)
        data, crowded = COCO(tmp_path), COCO(tmp_path, crowd_labels=True)
        scenes = dict(coco_scenes(12, 3, split))
        assert data.splits == (split,)
        assert list(data.ids(split)) == list(scenes)
        assert next(iter(scenes)) == f"{split}/{name}.jpg"
        assert data.class_names == tuple(CATEGORIES.values())
        for id_, scene in scenes.items():
            grouped = crowds(scene)
            mask = scene.label_mask
            expected = np.where(np.isin(mask, [class_id + 1 for class_id in grouped]), 255, mask)
            assert (data.mask(id_) == expected).all()
            singles = [item for item in scene.instances if item.class_id not in grouped]
            assert data.boxes(id_) == tuple(item.box for item in singles)
            assert data.sample(id_).labels == tuple(
                data.class_names[class_id] for class_id in scene.class_ids if class_id not in grouped
            )
            assert crowded.sample(id_).labels == tuple(data.class_names[class_id] for class_id in scene.class_ids)
            check_picture(data, id_, scene)
        assert list(data.problems(split)) == []

    def test_everything_that_a_loader_must_bear_is_in_it(self, tmp_path):
        write_coco(tmp_path)
        content = json.loads((tmp_path / "annotations/instances_val2017.json").read_text())
        entries = content["annotations"]
        shapes = {type(entry["segmentation"]).__name__ for entry in entries}
        runs = {
            type(entry["segmentation"]["counts"]).__name__ for entry in entries if "counts" in entry["segmentation"]
        }
        assert (shapes, runs) == ({"list", "dict"}, {"list", "str"})
        assert {entry["iscrowd"] for entry in entries} == {0, 1}
        owners = {entry["image_id"] for entry in entries}
        assert len(owners) < len(content["images"]) == 12
        assert [entry["id"] for entry in content["categories"]] == [1, 3, 17, 18, 44, 90]

    def test_two_splits_in_one_root(self, tmp_path):
        write_coco(tmp_path, pictures=2, split="train2017")
        write_coco(tmp_path, pictures=3, seed=1)
        data = COCO(tmp_path)
        assert [len(list(data.ids(split))) for split in data.splits] == [2, 3]


class TestImageNet:
    def test_round_trip(self, tmp_path):
        write_imagenet(tmp_path, pictures=9, seed=2)
        data = ImageNet(tmp_path)
        names = ("tench", "crane (n02012849)", "tabby", "crane (n03126707)", "maillot (n03710637)")
        assert data.class_names == (*names, "maillot (n03710721)")
        for split in ("train", "val"):
            scenes = dict(imagenet_scenes(split, 9, 2))
            assert list(data.ids(split)) == list(scenes)
            for number, (id_, scene) in enumerate(scenes.items(), 1):
                assert data.sample(id_).labels == (data.class_names[number % len(SYNSETS)],)
                boxed = split == "val" or number % 2 == 1
                assert data.boxes(id_) == (tuple(item.box for item in scene.instances) if boxed else None)
                check_picture(data, id_, scene)
            assert list(data.problems(split)) == []

    def test_csv_and_xml_say_the_same(self, tmp_path):
        write_imagenet(tmp_path, pictures=6)
        from_xml = {id_: ImageNet(tmp_path).boxes(id_) for id_ in ImageNet(tmp_path).ids("val")}
        (tmp_path / "ILSVRC/Annotations").rename(tmp_path / "away")
        assert {id_: ImageNet(tmp_path).boxes(id_) for id_ in from_xml} == from_xml


class TestWSOL:
    @pytest.mark.parametrize("truth", ["boxes", "masks"])
    def test_round_trip(self, tmp_path, truth):
        write_wsol(tmp_path, pictures=8, seed=4, truth=truth)
        data = WSOL(tmp_path)
        assert data.splits == ("test", "train", "val", "train-proxy")
        assert data.class_names == tuple(map(str, range(CLASSES)))
        for split in ("train", "val", "test"):
            scenes = dict(wsol_scenes(split, 8, 4))
            assert list(data.ids(split)) == list(scenes)
            for number, (id_, scene) in enumerate(scenes.items()):
                assert data.sample(id_).labels == (str(number % CLASSES),)
                assert data.size(id_) == scene.picture.size
                check_picture(data, id_, scene)
                boxes, mask = data.boxes(id_), data.mask(id_)
                if split == "train":
                    assert boxes is None is mask
                elif truth == "boxes":
                    assert mask is None
                    assert boxes == tuple(item.box for item in scene.instances)
                else:
                    assert boxes is None
                    assert (mask == expected_mask(scene)).all()
            assert list(data.problems(split)) == []
        assert list(data.ids("train-proxy")) == list(data.ids("train"))[::2]

    def test_masks_have_ignore_regions_and_none(self, tmp_path):
        write_wsol(tmp_path, truth="masks")
        data = WSOL(tmp_path)
        assert {255 in data.mask(id_) for id_ in data.ids("test")} == {True, False}
        assert not list(tmp_path.rglob("image_sizes.txt"))


def expected_mask(scene):
    ignored = ignored_instance(scene)
    mask = np.zeros((scene.picture.height, scene.picture.width), dtype=int)
    if ignored is not None:
        box = ignored.box
        mask[box.y0 : box.y1, box.x0 : box.x1] = 255
    for instance in scene.instances:
        if instance is not ignored:
            mask[instance.pixels] = instance.class_id + 1
    return mask


@pytest.mark.parametrize("write", [write_coco, write_imagenet, write_wsol])
def test_the_seed_decides_everything(tmp_path, write):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write(tmp_path / name, pictures=3, seed=seed)
    first, second, third = (files(tmp_path / name) for name in "abc")
    assert first == second
    assert first.keys() == third.keys()
    pictures = [name for name in first if name.lower().endswith(("jpg", "jpeg"))]
    assert all(first[name] != third[name] for name in pictures)


@pytest.mark.parametrize("write", [write_coco, write_imagenet, write_wsol])
def test_a_root_below_a_file(tmp_path, write):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"):
        write(tmp_path / "file")


@pytest.mark.parametrize("write", [write_coco, write_imagenet, write_wsol])
def test_no_pictures(tmp_path, write):
    write(tmp_path, pictures=0)
    assert not [name for name in files(tmp_path) if name.lower().endswith(("jpg", "jpeg", "png"))]


def test_empty_data_sets_open(tmp_path):
    write_coco(tmp_path / "coco", pictures=0)
    assert list(COCO(tmp_path / "coco").ids("val2017")) == []
    write_wsol(tmp_path / "wsol", pictures=0)
    data = WSOL(tmp_path / "wsol")
    assert (list(data.ids("val")), data.class_names) == ([], ())
