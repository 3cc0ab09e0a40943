"""What is evaluated: finding out what lies there, which picture it belongs to, and refusing what is broken."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.synthetic.coco import CATEGORIES, write_coco
from advcam.errors import DatasetError, PictureError, SettingError
from advcam.pipeline.evaluation.predictions import (
    CocoResults,
    MapFiles,
    MaskFiles,
    Predictions,
    RunMaps,
    is_run,
    open_predictions,
)
from advcam.store.maps import MapStore, StoredMaps
from advcam.types import Attribution, Box, Sample

SHAPES = ("ellipse", "rectangle", "triangle", "wheel")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pictures such as train/rectangle/1.jpg (96 x 80) and val/wheel/3.jpg, of the classes in SHAPES."""
    root = tmp_path_factory.mktemp("data") / "folders"
    write_dataset("folders", root, pictures=6)
    return open_dataset(root)


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two splits that share file names and image ids, of other pictures."""
    root = tmp_path_factory.mktemp("data") / "coco"
    write_coco(root, pictures=5, split="train2017")
    write_coco(root, pictures=4, seed=1, split="val2017")
    return open_dataset(root)


class Named(Predictions):
    """Names alone."""

    kind = "maps"


def find(names: list[str], id_: str, path: str | None = None) -> str | None:
    return Named(names, Path("there")).name_of(Sample(id_, Path(path or f"/data/{id_}")))


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("val/cat/1.jpg", "val/cat/1.jpg"),
        ("val/cat/1", "val/cat/1.jpg"),
        ("cat/1", "val/cat/1.jpg"),
        ("cat/1.jpg", "val/cat/1.jpg"),
        ("1", "val/cat/1.jpg"),
        ("1.JPG", "val/cat/1.JPG"),
        ("1.png", "val/cat/1.jpg"),  # a prediction may be named after a copy of the picture in another format
        ("run 3/val/cat/1", "val/cat/1.jpg"),
        ("run 3/val/cat/1.jpg", "val/cat/1.jpg"),
        ("2007_000032", "2007_000032"),
        ("SegmentationClass/2007_000032", "2007_000032"),
        ("v1.0/a.b", "a.b.jpg"),
    ],
)
def test_a_name_finds_its_picture_with_and_without_folders_and_extension(name: str, id_: str):
    assert find([name], id_) == name


def test_a_name_is_also_compared_with_where_the_picture_lies():
    assert find(["images/a"], "a.jpg", "/data/images/a.jpg") == "images/a"
    assert find(["pictures/a"], "x/a.jpg", "/data/pictures/x/a.jpg") is None


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("train/cat/1", "val/cat/1.jpg"),  # the other split
        ("dog/1", "val/cat/1.jpg"),
        ("11", "val/cat/1.jpg"),
        ("at/1", "val/cat/1.jpg"),
        ("1.npy", "val/cat/1.jpg"),
        ("a", "a.b.jpg"),
        ("", "val/cat/1.jpg"),
    ],
)
def test_a_name_never_finds_another_picture(name: str, id_: str):
    assert find([name], id_) is None


def test_the_most_exact_name_goes_first():
    names = ["1", "cat/1", "val/cat/1", "val/cat/1.jpg", "val/cat/1.png"]
    assert find(names, "val/cat/1.jpg") == "val/cat/1.jpg"
    assert find(names[:3], "val/cat/1.jpg") == "val/cat/1"
    assert find(names[:2], "val/cat/1.jpg") == "cat/1"


def test_two_names_that_fit_equally_well_are_refused():
    with pytest.raises(DatasetError, match=r"there has two predictions of a\.jpg: x/a and y/a; keep one of them"):
        find(["x/a", "y/a"], "a.jpg")
    with pytest.raises(DatasetError, match=r"two predictions of v/a\.jpg: a\.png and a\.gif"):
        find(["a.png", "a.gif"], "v/a.jpg")
    assert find(["x/a", "y/a"], "z/b.jpg") is None


PARTS = st.lists(st.sampled_from(["a", "b", "a.jpg", "b.png"]), min_size=1, max_size=3).map("/".join)


@given(names=st.lists(PARTS, min_size=1, max_size=5, unique=True), id_=PARTS)
def test_matching_is_the_definition(names: list[str], id_: str):
    """A slow reference: one path, without its extension, ends with the whole of the other."""

    def bare(path: str) -> tuple[str, ...]:
        return tuple(path.removesuffix(".jpg").removesuffix(".png").split("/"))

    def fits(name: str) -> bool:
        own, other = bare(name), bare(id_)
        shorter = min(len(own), len(other))
        return own[-shorter:] == other[-shorter:]

    fitting = [name for name in names if fits(name)]
    try:
        found = find(names, id_)
    except DatasetError:
        assert len(fitting) > 1
    else:
        assert (found in fitting) if fitting else (found is None)


def save(path: Path, array: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def test_maps_for_each_label_for_all_classes_and_for_one(folders: Dataset, tmp_path: Path):
    maps = np.random.default_rng(0).random((4, 3, 5)).astype(np.float32)
    sample = folders.sample("train/rectangle/1.jpg")
    for name, array in (("flat", maps[1]), ("one", maps[1:2]), ("all", maps)):
        save(tmp_path / name / "1.npy", array)
        class_ids, found = MapFiles(tmp_path / name, folders).maps("1", sample)
        assert class_ids == (1,)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, maps[1:2])


def test_maps_of_a_picture_with_several_labels_and_with_none(tmp_path: Path):
    write_dataset("table", tmp_path / "data", pictures=6)
    dataset = open_dataset(tmp_path / "data")
    two = next(s for s in dataset.samples("val") if len(s.labels or ()) == 2)
    none = next(s for s in dataset.samples("train") if s.labels == ())
    maps = np.arange(4)[:, None, None] / 4 * np.ones((4, 2, 2))
    save(tmp_path / "maps" / f"{two.id}.npy", maps)
    save(tmp_path / "maps" / f"{none.id}.npy", np.zeros((0, 2, 2)))
    predictions = open_predictions(tmp_path / "maps", dataset)
    class_ids, found = predictions.maps(two.id, two)
    assert [SHAPES[class_id] for class_id in class_ids] == list(two.labels or ())
    np.testing.assert_allclose(found[:, 0, 0], np.array(class_ids) / 4)
    class_ids, found = predictions.maps(none.id, none)
    assert class_ids == ()
    assert found.shape == (0, 2, 2)


def test_bytes_and_half_precision_are_numbers_too(folders: Dataset, tmp_path: Path):
    for kind in (np.uint8, np.int64, np.float16, np.float64):
        save(tmp_path / "1.npy", np.array([[0, 1]], dtype=kind))
        _, found = MapFiles(tmp_path, folders).maps("1", folders.sample("train/rectangle/1.jpg"))
        np.testing.assert_array_equal(found, np.array([[[0, 1]]], dtype=np.float32))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((2, 2), np.nan), "holds values from nan to nan; score maps lie in .0, 1. without NaN"),
        (np.array([[0.5, np.nan]]), "without NaN"),
        (np.array([[0, 1.01]]), "holds values from 0 to 1.01"),
        (np.array([[-0.1, 1]]), "holds values from -0.1 to 1"),
        (np.array([[0, np.inf]]), "holds values from 0 to inf"),
        (np.array([[0, 1e300]]), r"holds values from 0 to 1e\+300"),
        (np.array([[0, 255]], dtype=np.uint8), "divide each map by its maximum"),
        (np.zeros(4), r"holds float64 of shape \(4,\); a map is"),
        (np.zeros((1, 1, 2, 2)), r"of shape \(1, 1, 2, 2\)"),
        (np.zeros((2, 2), dtype=bool), "holds bool of shape"),
        (np.zeros((2, 2), dtype=complex), "holds complex128"),
        (np.array(["a"]), "holds <U1"),
        (np.zeros((1, 0, 2)), "maps without a pixel"),
        (np.zeros((2, 2, 2)), "holds 2 maps; train/rectangle/1.jpg has 1 labels and the data set 4 classes"),
        (np.zeros((0, 2, 2)), "holds 0 maps; train/rectangle/1.jpg has 1 labels"),
    ],
)
def test_arrays_that_are_no_maps(folders: Dataset, tmp_path: Path, array: np.ndarray, words: str):
    path = save(tmp_path / "1.npy", array)
    with pytest.raises(PictureError, match=rf"{path} .*{words}"):
        MapFiles(tmp_path, folders).maps("1", folders.sample("train/rectangle/1.jpg"))


def _archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, maps=np.zeros((2, 2)))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no array"),
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"(2, 2)", b"(2, 2(")),
        lambda path: path.write_bytes(path.read_bytes().replace(b"(2, 2), }           ", b"(9999999, 999999), }")),
        lambda path: np.save(path, np.array([{"a": 1}]), allow_pickle=True),
        _archive,
    ],
)
def test_files_that_are_no_arrays(folders: Dataset, tmp_path: Path, write: Callable[[Path], object]):
    write(save(tmp_path / "1.npy", np.zeros((2, 2))))
    with pytest.raises(PictureError, match=r"1\.npy (cannot be read as an array of numbers|holds several arrays)"):
        MapFiles(tmp_path, folders).maps("1", folders.sample("train/rectangle/1.jpg"))


def test_files_are_found_below_folders_without_the_hidden_ones(folders: Dataset, tmp_path: Path):
    for name in ("val/wheel/3.jpg.npy", "b.NPY", ".hidden.npy", ".trash/c.npy"):
        path = save(tmp_path / "maps" / name / "x.npy", np.zeros((2, 2)))
        content = path.read_bytes()
        path.unlink()
        path.parent.rmdir()
        path.parent.write_bytes(content)
    predictions = open_predictions(tmp_path / "maps", folders)
    assert isinstance(predictions, MapFiles)
    assert sorted(predictions.names) == ["b", "val/wheel/3.jpg"]
    assert predictions.name_of(folders.sample("val/wheel/3.jpg")) == "val/wheel/3.jpg"


def test_masks_of_a_run_come_in_the_numbers_of_the_data_set(folders: Dataset, tmp_path: Path):
    """A classifier of many classes has its classes numbered as they were met, by name or number of the output."""
    entries = [{"number": 0, "name": "background"}, {"number": 255, "name": "ignore"}]
    entries += [{"number": 1, "class_id": 700, "name": "Wheel"}, {"number": 2, "class_id": 3, "name": "rectangle"}]
    (tmp_path / "masks" / "train").mkdir(parents=True)
    mask = np.array([[0, 1, 2], [255, 2, 1]], dtype=np.uint8)
    Image.fromarray(mask).save(tmp_path / "masks" / "train" / "1.png")
    sample = next(iter(folders.samples("train")))
    wheel, rectangle = folders.class_id("wheel") + 1, folders.class_id("rectangle") + 1
    zebra = json.dumps([*entries, {"number": 3, "class_id": 9, "name": "zebra"}])
    for content in ("no JSON", "[1, 2]", "{}", zebra):  # a file of somebody else, or of other classes
        (tmp_path / "classes.json").write_text(content)
        assert MaskFiles(tmp_path / "masks", folders).mask("train/1", sample).tolist() == mask.tolist()
    (tmp_path / "classes.json").write_text(json.dumps(entries))
    found = MaskFiles(tmp_path / "masks", folders).mask("train/1", sample)
    assert found.tolist() == [[0, wheel, rectangle], [255, rectangle, wheel]]


def test_masks_are_read_without_conversion(folders: Dataset, tmp_path: Path):
    numbers = np.random.default_rng(0).integers(0, 5, (80, 96)).astype(np.uint8)
    image = Image.fromarray(numbers)
    image.putpalette(bytes(range(256)) * 3)
    image.save(tmp_path / "1.png")
    sample = folders.sample("train/rectangle/1.jpg")
    predictions = open_predictions(tmp_path, folders)
    assert isinstance(predictions, MaskFiles)
    np.testing.assert_array_equal(predictions.mask("1", sample), numbers)
    Image.new("RGB", (96, 80)).save(tmp_path / "1.png")
    with pytest.raises(DatasetError, match="is a picture of mode RGB"):
        predictions.mask("1", sample)


def test_a_kind_that_a_source_does_not_hold_is_refused(folders: Dataset, tmp_path: Path):
    save(tmp_path / "maps" / "1.npy", np.zeros((2, 2)))
    maps, sample = open_predictions(tmp_path / "maps", folders), folders.sample("train/rectangle/1.jpg")
    with pytest.raises(SettingError, match="holds maps, but this protocol takes masks"):
        maps.mask("1", sample)
    with pytest.raises(SettingError, match="holds maps, but this protocol takes boxes"):
        maps.boxes("1", sample)
    Image.new("L", (2, 2)).save(tmp_path / "1.png")
    with pytest.raises(SettingError, match="holds masks, but this protocol takes maps"):
        MaskFiles(tmp_path, folders).maps("1", sample)


@pytest.mark.parametrize(
    ("names", "asked", "words"),
    [
        ([], "absent", "absent does not exist; name a run, a folder"),
        ([], ".", r"neither \.npy maps nor \.png masks"),
        (["a.npy", "sub/b.png"], ".", r"both \.npy maps and \.png masks; name a folder with one kind"),
        (["a.npz"], "a.npz", r"a\.npz is no results JSON; name a run"),
        (
            ["run/config.json", "run/maps/part-000000.parquet"],
            "run/maps",
            "part of a run of advcam; name the run itself",
        ),
        (["run/config.json", "run/maps/x", "run/masks/1.png"], "run/masks", "part of a run of advcam"),
    ],
)
def test_paths_that_hold_nothing_to_evaluate(
    folders: Dataset, tmp_path: Path, names: list[str], asked: str, words: str
):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(SettingError, match=words):
        open_predictions(tmp_path / asked, folders)


def stored(folder: Path, id_: str, class_ids: tuple[int, ...], names: tuple[str, ...], maps: np.ndarray) -> None:
    """A run with the maps of one picture."""
    (folder / "config.json").parent.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    attribution = Attribution(class_ids, names, maps.astype(np.float32), (80, 96), np.zeros(len(class_ids), np.float32))
    store = MapStore(folder / "maps")
    place = len(store.names())
    store.write([StoredMaps(id_, 0, attribution)], place, place)


MAPS = np.array([[[0.25, 0.5]], [[0.75, 0]], [[0, 1]]])


def test_classes_of_a_run_are_those_of_the_data_set_by_name_whatever_the_case(folders: Dataset, tmp_path: Path):
    stored(tmp_path, "train/rectangle/1.jpg", (7, 9), ("Wheel", "rectangle"), MAPS[:2])
    predictions = open_predictions(tmp_path, folders)
    assert isinstance(predictions, RunMaps)
    assert is_run(tmp_path)
    assert predictions.names == ("train/rectangle/1.jpg",)
    class_ids, maps = predictions.maps("train/rectangle/1.jpg", folders.sample("train/rectangle/1.jpg"))
    assert class_ids == (3, 1)
    np.testing.assert_array_equal(maps, MAPS[:2])


def test_classes_that_are_numbers_are_those_of_the_outputs(tmp_path: Path):
    write_dataset("wsol", tmp_path / "data", pictures=4)
    dataset = open_dataset(tmp_path / "data")
    assert dataset.class_names == ("0", "1", "2", "3")
    stored(tmp_path / "run", "val/2/0002.jpg", (2,), ("hammerhead",), MAPS[:1])
    class_ids, _ = RunMaps(tmp_path / "run", dataset).maps("val/2/0002.jpg", dataset.sample("val/2/0002.jpg"))
    assert class_ids == (2,)


def test_a_class_that_the_data_set_lacks_teaches_groups(folders: Dataset, tmp_path: Path):
    stored(tmp_path, "a", (281,), ("tabby",), MAPS[:1])
    sample = folders.sample("train/rectangle/1.jpg")
    with pytest.raises(DatasetError, match="is 'tabby', output 281 of the run; name its groups by --groups"):
        RunMaps(tmp_path, folders).maps("a", sample)
    with pytest.raises(DatasetError, match="is 'tabby', output 281 of the run; add it to the groups as 'tabby' or 281"):
        RunMaps(tmp_path, folders, {"wheel": [5]}).maps("a", sample)
    with pytest.raises(DatasetError, match="has no class 'weel'; did you mean 'wheel'"):
        RunMaps(tmp_path, folders, {"weel": [281]})


def test_outputs_of_a_group_are_joined_by_their_maximum(folders: Dataset, tmp_path: Path):
    stored(tmp_path, "a", (5, 6, 7), ("five", "six", "seven"), MAPS)
    groups = {"wheel": [5, "Seven"], "ellipse": ["6"]}
    class_ids, maps = RunMaps(tmp_path, folders, groups).maps("a", folders.sample("train/rectangle/1.jpg"))
    assert class_ids == (3, 0)
    # wheel: maximum of (0.25, 0.5) and (0, 1)
    np.testing.assert_array_equal(maps, [[[0.25, 1]], [[0.75, 0]]])


def test_an_output_of_two_classes_is_that_of_the_labels(folders: Dataset, tmp_path: Path):
    stored(tmp_path, "a", (5,), ("five",), MAPS[:1])
    groups = {"ellipse": [5], "rectangle": [5], "wheel": [6]}
    predictions = RunMaps(tmp_path, folders, groups)
    assert predictions.maps("a", folders.sample("train/rectangle/1.jpg"))[0] == (1,)
    assert predictions.maps("a", folders.sample("val/wheel/3.jpg"))[0] == (0,)


def test_a_stored_picture_without_classes(folders: Dataset, tmp_path: Path):
    stored(tmp_path, "a", (), (), np.zeros((0, 4, 5)))
    class_ids, maps = RunMaps(tmp_path, folders).maps("a", folders.sample("train/rectangle/1.jpg"))
    assert class_ids == ()
    assert maps.shape == (0, 4, 5)


def result(image: object = 139, category: object = 1, bbox: object = (1, 2, 3, 4), score: object = 0.5) -> dict:
    return {
        "image_id": image,
        "category_id": category,
        "bbox": list(bbox) if isinstance(bbox, tuple) else bbox,
        "score": score,
    }


def results(folder: Path, *entries: object) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(entries))
    return path


def test_coco_results_by_image_and_category_ids_of_the_split(coco: Dataset, tmp_path: Path):
    best, other = (result(285, 90, (10, 20, 30, 40), score) for score in (0.9, 0.25))
    predictions = open_predictions(results(tmp_path, other, best, result(139)), coco)
    assert isinstance(predictions, CocoResults)
    sample = coco.sample("val2017/000000000285.jpg")
    assert predictions.name_of(sample) == "285"
    toothbrush = list(CATEGORIES).index(90)
    assert coco.class_names[toothbrush] == "toothbrush"
    box = Box(toothbrush, 10, 20, 40, 60, 0.9)
    assert predictions.boxes("285", sample) == (box, Box(toothbrush, 10, 20, 40, 60, 0.25))


def test_image_ids_of_coco_are_those_of_the_json_and_not_of_the_file_name(coco: Dataset, tmp_path: Path):
    path = coco.root / "annotations" / "instances_val2017.json"
    changed = tmp_path / "data" / "annotations.json"
    changed.parent.mkdir()
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["id"] += 146  # the number of the next picture
    for annotation in content["annotations"]:
        annotation["image_id"] += 146
    changed.write_text(json.dumps(content))
    (tmp_path / "data" / "images").symlink_to(coco.root / "val2017")
    dataset = open_dataset(tmp_path / "data")
    predictions = CocoResults(results(tmp_path, result(285), result(139)), dataset)
    assert predictions.name_of(dataset.sample("all/000000000139.jpg")) == "285"
    assert predictions.name_of(dataset.sample("all/000000000285.jpg")) is None


def test_image_ids_elsewhere_are_the_text_of_the_id_or_the_number_that_the_name_is(tmp_path: Path):
    write_dataset("voc2012", tmp_path / "voc", pictures=3)
    voc = open_dataset(tmp_path / "voc")
    path = results(tmp_path, result(2007000001, 20), result("2007_000002", 20), result(3, 20))
    predictions = CocoResults(path, voc)
    assert predictions.name_of(voc.sample("2007_000001")) == "2007000001"
    assert predictions.name_of(voc.sample("2007_000002")) == "2007_000002"
    assert predictions.name_of(voc.sample("2007_000003")) is None
    assert predictions.boxes("2007000001", voc.sample("2007_000001"))[0].class_id == 19  # from 1: tvmonitor
    write_dataset("pets", tmp_path / "pets", pictures=3)
    pets = open_dataset(tmp_path / "pets")
    (first, *_) = pets.samples("all")
    assert first.id.endswith(("_1", "_2", "_3"))
    number = int(first.id.rpartition("_")[2])
    assert CocoResults(results(tmp_path, result(number)), pets).name_of(first) is None  # Bengal_3 is not picture 3


def test_corners_are_widened_to_pixels_and_cut_off_at_the_picture(coco: Dataset, tmp_path: Path):
    sample = coco.sample("val2017/000000000139.jpg")  # 96 x 80
    boxes = {
        (1.2, 2.9, 3.0, 4.0): (1, 2, 5, 7),
        (3.3, 6.6, 6.7, 3.4): (3, 6, 10, 10),  # 10.000000000000002 without rounding
        (-5.5, -1, 20, 30.25): (0, 0, 15, 30),
        (90, 70, 1000, 1000): (90, 70, 96, 80),
    }
    for bbox, corners in boxes.items():
        (box,) = CocoResults(results(tmp_path, result(bbox=bbox)), coco).boxes("139", sample)
        assert (box.x0, box.y0, box.x1, box.y1) == corners
    outside = CocoResults(results(tmp_path, result(bbox=(96, 0, 5, 5))), coco)
    with pytest.raises(DatasetError, match="the box 96, 0, 101, 5 lies outside of a picture of 96 x 80 pixels"):
        outside.boxes("139", sample)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, "entry 1 is no result with image_id, category_id, bbox"),
        (3, "entry 1 is no result"),
        (result(bbox=(1, 2, 3)), "entry 1 is no result"),
        (result(bbox=7), "entry 1 is no result"),
        (result(image=[1]), r"entry 1: image_id is \[1\]; it is a whole number or the text"),
        (result(image=True), "image_id is True"),
        (result(category=2), "entry 1: category_id 2 is none of the data set's 6, 1 to 90"),
        (result(category="1"), "category_id '1' is none"),
        (result(category=[1]), r"category_id \[1\] is none"),
        (result(bbox=(1, 2, 0, 4)), "are not x, y, width and height above 0"),
        (result(bbox=(1, 2, 3, -4)), "height above 0"),
        (result(bbox=(1, 2, 3, math.nan)), "height above 0, and a number"),
        (result(bbox=(math.inf, 2, 3, 4)), "height above 0, and a number"),
        (result(bbox=(1, 2, "3", 4)), "height above 0, and a number"),
        (result(score=math.nan), "score nan are not"),
        (result(score=None), "score None are not"),
    ],
)
def test_broken_results_name_their_entry(coco: Dataset, tmp_path: Path, entry: object, words: str):
    with pytest.raises(DatasetError, match=words):
        CocoResults(results(tmp_path, result(), entry), coco)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"image_id": 1', "is no complete JSON"),
        ("", "is no complete JSON"),
        ('{"annotations": []}', "is no list of results"),
    ],
)
def test_files_that_are_no_results(coco: Dataset, tmp_path: Path, content: str, words: str):
    (tmp_path / "results.JSON").write_text(content)
    with pytest.raises(DatasetError, match=words):
        open_predictions(tmp_path / "results.JSON", coco)
