"""Generated VOC, Pets, CUB, class folders and label tables, read back by their loaders: all truth is that of the scene.

The scenes are drawn here anew from what the generators say of their seeds and classes, so that a picture, its labels,
mask and boxes are compared with `draw_scene` and not with the generator itself.
"""

from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest
from PIL import Image

from advcam.colours import voc_palette
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.check import check_dataset
from advcam.datasets.cub import CUB200
from advcam.datasets.folder import ClassFolders
from advcam.datasets.pets import PET_BREEDS, OxfordPets
from advcam.datasets.pictures import read_picture
from advcam.datasets.synthetic.cub import write_cub200
from advcam.datasets.synthetic.folder import SHAPE_CLASSES, write_class_folders, write_label_table
from advcam.datasets.synthetic.pets import write_pets
from advcam.datasets.synthetic.scenes import draw_scene
from advcam.datasets.synthetic.voc import write_voc2012
from advcam.datasets.synthetic.writing import write_lines
from advcam.datasets.table import LabelTable
from advcam.datasets.voc import VOC2012
from advcam.errors import AdvcamError, RunError, SettingError

SEED = 3
WRITERS = {
    "voc2012": write_voc2012,
    "pets": write_pets,
    "cub200": write_cub200,
    "folders": write_class_folders,
    "table": write_label_table,
}


def scene_of(number, *class_ids, portrait=True):
    return draw_scene(1000 * SEED + number, class_ids, (80, 96) if portrait and number % 2 == 0 else (96, 80))


def assert_same_picture(path, scene):
    """JPEG of quality 95 loses a few grey levels in the noise of the objects, and turns nothing around."""
    read, drawn = (np.asarray(picture, dtype=float) for picture in (read_picture(path), scene.picture))
    assert read.shape == drawn.shape
    assert np.abs(read - drawn).mean() < 5
    assert np.abs(read - drawn[::-1]).mean() > 10


def voc_classes(number):
    """As `voc_scenes` says."""
    first, following = (((0, 7, 14, 17) * 2)[number % 4 + step] for step in (0, 1))
    return (first,) * (2 if number % 5 == 0 else 1) + ((following,) if number % 3 != 1 else ())


def test_voc_reads_back_as_drawn(tmp_path):
    write_voc2012(tmp_path, pictures=18, seed=SEED)
    dataset, easy = VOC2012(tmp_path), VOC2012(tmp_path, difficult=False)
    several = 0
    for number in (number for number in range(1, 19) if number % 6 != 1):
        id_, scene = f"2007_{number:06d}", scene_of(number, *voc_classes(number))
        sample = dataset.sample(id_)
        assert_same_picture(sample.path, scene)
        assert sample.labels == tuple(dataset.class_names[class_id] for class_id in scene.class_ids)
        assert easy.sample(id_).labels == sample.labels  # further objects of a class are difficult, the first is not
        assert dataset.boxes(id_) == tuple(instance.box for instance in scene.instances)
        assert {box.class_id for box in easy.boxes(id_)} == set(scene.class_ids)
        assert len(easy.boxes(id_)) == len(scene.class_ids)
        several += len(scene.instances) > len(scene.class_ids)
        if number % 6 != 5:
            assert_bordered(dataset.mask(id_), scene.label_mask)
    assert several


def assert_bordered(mask, truth):
    """255 on the background pixels beside an object, elsewhere the truth."""
    rows, columns = np.nonzero(truth)
    beside = np.zeros_like(truth, dtype=bool)
    for row, column in zip(rows, columns, strict=True):
        beside[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
    assert (mask == np.where(beside & (truth == 0), 255, truth)).all()


def test_voc_tiny_bottle_is_difficult_only(tmp_path):
    write_voc2012(tmp_path, pictures=7, seed=SEED)
    dataset, easy = VOC2012(tmp_path), VOC2012(tmp_path, difficult=False)
    patch = draw_scene(SEED, (4,), (16, 16))
    for number in (1, 7):
        id_, scene = f"2007_{number:06d}", scene_of(number, *voc_classes(number))
        bottle = np.zeros_like(scene.label_mask, dtype=bool)
        bottle[:16, :16] = patch.instances[0].pixels
        truth = np.where(bottle, 5, scene.label_mask)
        drawn = scene.instances[0].class_id
        rest = np.flatnonzero((truth == drawn + 1).any(axis=0))
        assert dataset.sample(id_).labels == tuple(dataset.class_names[each] for each in sorted((4, drawn)))
        assert easy.sample(id_).labels == (dataset.class_names[drawn],)
        assert_bordered(dataset.mask(id_), truth)
        shape, tiny = dataset.boxes(id_)
        assert (shape.class_id, shape.x0, shape.x1) == (drawn, rest[0], rest[-1] + 1)
        assert tiny == patch.instances[0].box
        picture = np.array(scene.picture)
        picture[bottle] = np.asarray(patch.picture)[patch.instances[0].pixels]
        assert np.abs(picture - np.asarray(read_picture(dataset.sample(id_).path), dtype=float)).mean() < 5


@pytest.mark.parametrize("sbd", [False, True])
def test_voc_lists_and_masks_of_sbd(tmp_path, sbd):
    write_voc2012(tmp_path, pictures=12, seed=SEED, sbd=sbd)
    dataset = VOC2012(tmp_path)
    numbers = {split: [int(id_[5:]) for id_ in dataset.ids(split)] for split in dataset.splits}
    assert numbers == {
        "train": [1, 2, 4, 7, 8, 10],
        "val": [3, 6, 9, 12],
        "trainval": [1, 2, 3, 4, 6, 7, 8, 9, 10, 12],
        "trainaug": [1, 2, 4, 5, 7, 8, 10, 11],
        "main/train": [1, 2, 4, 5, 7, 8, 10, 11],
        "main/val": [3, 6, 9, 12],
        "main/trainval": list(range(1, 13)),
    }
    unmasked = [id_ for id_ in dataset.ids("trainaug") if dataset.mask(id_) is None]
    assert unmasked == ([] if sbd else ["2007_000005", "2007_000011"])
    assert not (dataset.root / "SegmentationClass/2007_000005.png").exists()
    if sbd:
        assert (dataset.mask("2007_000005") == scene_of(5, *voc_classes(5)).label_mask).all()
        assert (dataset.mask("2007_000002") == scene_of(2, *voc_classes(2)).label_mask).all()


def test_voc_files_have_the_form_of_the_original(tmp_path):
    write_voc2012(tmp_path, pictures=3, seed=SEED)
    home = tmp_path / "VOCdevkit/VOC2012"
    with Image.open(home / "SegmentationClass/2007_000002.png") as mask:
        assert mask.mode == "P"
        assert mask.getpalette() == voc_palette().ravel().tolist()
    with Image.open(home / "JPEGImages/2007_000002.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (80, 96))
    text = (home / "Annotations/2007_000002.xml").read_text()
    assert "\t<size>\n\t\t<width>80</width>\n\t\t<height>96</height>\n\t\t<depth>3</depth>\n\t</size>" in text
    assert "<part>\n\t\t\t<name>head</name>\n\t\t\t<bndbox>" in text
    assert "<segmented>1</segmented>" in text


def test_pets_read_back_as_drawn(tmp_path):
    write_pets(tmp_path, pictures=9, seed=SEED)
    breeds, species = OxfordPets(tmp_path), OxfordPets(tmp_path, classes="species")
    for number in range(1, 10):
        breed = (0, 1, 2, 7)[number % 4]
        id_, scene = f"{PET_BREEDS[breed]}_{number}", scene_of(number, breed)
        (animal,) = scene.instances
        assert_same_picture(breeds.sample(id_).path, scene)
        assert breeds.sample(id_).labels == (PET_BREEDS[breed],)
        assert species.sample(id_).labels == ("dog" if breed in (1, 2) else "cat",)
        assert breeds.boxes(id_) == (animal.box,)
        core = cv2.erode(animal.pixels.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert (breeds.mask(id_) == np.where(core, breed + 1, np.where(animal.pixels, 255, 0))).all()
    assert {int(id_.rpartition("_")[2]) for id_ in breeds.ids("test")} == {3, 6, 9}
    assert sorted([*breeds.ids("trainval"), *breeds.ids("test")]) == list(breeds.ids("all"))
    line = (tmp_path / "annotations/list.txt").read_text().splitlines()[3]
    assert line.split()[1:] == ["1", "1", "1"]  # Abyssinian: class 1, cat, first of the cats


def test_cub_reads_back_as_drawn(tmp_path):
    write_cub200(tmp_path, pictures=9, seed=SEED)
    dataset = CUB200(tmp_path)
    ids = [*dataset.ids("train"), *dataset.ids("test")]
    assert [int(id_[-8:-4]) for id_ in ids] == [1, 2, 4, 5, 7, 8, 3, 6, 9]
    for id_ in ids:
        number = int(id_[-8:-4])
        scene = scene_of(number, number % 4)
        assert_same_picture(dataset.sample(id_).path, scene)
        assert dataset.sample(id_).labels == (dataset.class_names[number % 4],)
        assert dataset.boxes(id_) == (scene.instances[0].box,)
        assert (dataset.mask(id_) == scene.label_mask).all()
        with Image.open((tmp_path / "segmentations" / id_).with_suffix(".png")) as shares:
            assert shares.mode == "L"
            assert np.unique(shares).tolist() == [0, 51, 102, 153, 204, 255]


@pytest.mark.parametrize("splits", [True, False])
def test_class_folders_read_back_as_drawn(tmp_path, splits):
    write_class_folders(tmp_path, pictures=6, seed=SEED, splits=splits)
    dataset = ClassFolders(tmp_path)
    assert dataset.class_names == SHAPE_CLASSES
    found = {split: sorted(int(PurePosixPath(id_).stem) for id_ in dataset.ids(split)) for split in dataset.splits}
    assert found == ({"train": [1, 2, 4, 5], "val": [3, 6]} if splits else {"all": [1, 2, 3, 4, 5, 6]})
    for id_ in (id_ for split in dataset.splits for id_ in dataset.ids(split)):
        number = int(PurePosixPath(id_).stem)
        scene = scene_of(number, number % 4)
        assert_same_picture(dataset.sample(id_).path, scene)
        assert dataset.sample(id_).labels == (SHAPE_CLASSES[number % 4],)
        assert (dataset.mask(id_) == scene.label_mask).all()


def test_class_without_a_picture_in_a_split(tmp_path):
    write_class_folders(tmp_path, pictures=4, seed=SEED)
    dataset = ClassFolders(tmp_path)
    assert {sample.labels[0] for sample in dataset.samples("val")} == {"wheel"}
    assert len(dataset.class_names) == 4
    assert dataset.class_id("wheel") == 3


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_label_table_reads_back_as_drawn(tmp_path, kind):
    write_label_table(tmp_path, pictures=10, seed=SEED, kind=kind)
    dataset = LabelTable(tmp_path)
    assert dataset.class_names == SHAPE_CLASSES
    assert list(dataset.ids("val")) == [f"pictures/{number}.jpg" for number in (3, 6, 9)]
    assert list(dataset.ids("train")) == [f"pictures/{number}.jpg" for number in (1, 2, 4, 5, 7, 8, 10)]
    counts = set()
    for number in range(1, 11):
        id_ = f"pictures/{number}.jpg"
        classes = ((number % 4,) if number % 5 else ()) + (((number + 1) % 4,) if number % 3 == 0 else ())
        scene = scene_of(number, *classes, portrait=False)
        counts.add(len(scene.instances))
        assert_same_picture(dataset.sample(id_).path, scene)
        assert dataset.sample(id_).labels == tuple(SHAPE_CLASSES[class_id] for class_id in scene.class_ids)
        assert dataset.boxes(id_) == tuple(instance.box for instance in scene.instances)
        assert (dataset.mask(id_) == scene.label_mask).all()
    assert counts == {0, 1, 2}


def test_table_of_another_kind(tmp_path):
    with pytest.raises(SettingError, match=r"""^a table of labels is "csv" or "parquet", not 'xlsx'$"""):
        write_label_table(tmp_path, kind="xlsx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", WRITERS)
def test_generated_data_has_no_problem_and_is_the_same_twice(tmp_path, layout):
    for name in ("first", "second"):
        WRITERS[layout](tmp_path / name, pictures=6, seed=SEED)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert files
    assert [(tmp_path / "first" / file).read_bytes() for file in files] == [
        (tmp_path / "second" / file).read_bytes() for file in files
    ]
    reports = check_dataset(open_dataset(tmp_path / "first", layout), decode=True)
    assert sum(report.pictures for report in reports.values()) >= 6
    assert not [words for report in reports.values() for words in report.problems.named.values()]


def read_all(dataset):
    for split in dataset.splits:
        for id_ in dataset.ids(split):
            dataset.sample(id_), dataset.mask(id_), dataset.boxes(id_)


@pytest.mark.parametrize(
    ("layout", "options"),
    [("voc2012", {}), ("pets", {}), ("cub200", {}), ("folders", {}), ("table", {}), ("table", {"kind": "parquet"})],
)
def test_any_damage_is_read_or_refused_in_one_line(tmp_path, layout, options):
    WRITERS[layout](tmp_path, pictures=2, seed=SEED, **options)
    random = np.random.default_rng(0)
    refusals = []
    files = sorted(path for path in tmp_path.rglob("*.*") if path.is_file() and path.suffix != ".jpg")
    for path in (path for path in files if path.stat().st_size):
        content = path.read_bytes()
        for _ in range(15):
            place, step = random.integers(len(content)), random.integers(1, 6)
            byte = random.choice([b"\0", b"\xff", b"9", b"-", b"\n", b'"', b"<", b"."])
            damages = [content[:place], content[:place] + byte + content[place + 1 :]]
            path.write_bytes([*damages, content[:place] + content[place + step :]][random.integers(3)])
            try:
                read_all(open_dataset(tmp_path, layout))
            except AdvcamError as error:
                refusals.append(str(error))
        path.write_bytes(content)
    assert refusals
    assert not [text for text in refusals if "\n" in text]


def test_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError) as caught:
        write_lines(tmp_path / "file" / "list.txt", ["a"])
    assert str(caught.value) == (
        f"cannot write {tmp_path}/file/list.txt (File exists); make room, change the permissions or choose another "
        "folder"
    )
