"""Files that once ended in a traceback, took the memory or the night: each is refused in a line, or read in no time.

Found by the fuzz targets beside `src`, or by reading the code.
"""

import json
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from advcam.classifiers.names import ClassIndex, read_class_names
from advcam.classifiers.weights import load_weights
from advcam.datasets.coco import COCO
from advcam.datasets.cub import CUB200
from advcam.datasets.imagenet import ImageNet
from advcam.datasets.labels import read_label_table
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.table import LabelTable
from advcam.datasets.voc import VOC2012
from advcam.datasets.wsol import WSOL
from advcam.errors import DatasetError, LabelError, RunError, SettingError, WeightsError
from advcam.pipeline.chain.labelling import names_of_run
from advcam.pipeline.chain.recipe_file import change
from advcam.pipeline.chain.thresholding import read_threshold
from advcam.pipeline.label_masks import class_numbers
from advcam.pipeline.recipe import parse_yaml
from advcam.store import reading
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.reading import inside, numbered_lines, read_index_png, read_lines, read_xml
from advcam.store.records import RecordFile
from advcam.store.run import RunDirectory
from advcam.training.checkpoint import read_state
from advcam.types import Attribution, checked_stored

DEEP = "[" * 100_000


@pytest.mark.parametrize("name", [".", "./.", "x" * 251, "é" * 126, "a/" * 1001, "x" * 300 + "/a.jpg", ""])
def test_names_that_no_file_can_have(tmp_path: Path, name: str):
    with pytest.raises(DatasetError) as caught:
        inside(tmp_path, name)
    assert str(caught.value).startswith(f"an annotation of {tmp_path} names ")


@pytest.mark.parametrize("name", ["x" * 250, "a/b.jpg", "./a.jpg", "é" * 125, "/".join(["x" * 200] * 9)])
def test_names_that_files_can_have(tmp_path: Path, name: str):
    assert not inside(tmp_path, name).with_suffix(".png").exists()  # asking the file system is no error


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "a\\b", "..\\a", "C:x", "c:/x", "a\0b", "\\\\host\\x"]
)
def test_names_that_lead_out_of_the_root(tmp_path: Path, name: str):
    with pytest.raises(DatasetError, match="names are paths inside the data set"):
        inside(tmp_path, name)


@pytest.mark.parametrize(
    "name", ["x" * 300 + ".jpg", ".", "../a.jpg", "/etc/passwd", "C:\\a.jpg", "x/" * 3000 + "a.jpg"]
)
def test_no_layout_follows_such_a_name(tmp_path: Path, name: str):
    write_dataset("coco", tmp_path / "coco", pictures=1)
    path = tmp_path / "coco/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    dataset = COCO(tmp_path / "coco")
    with pytest.raises(DatasetError, match="names"):
        dataset.sample(f"val2017/{name}")
    for layout, kind, file in (
        ("table", LabelTable, "labels.csv"),
        ("wsol", WSOL, "metadata/SHAPES/test/class_labels.txt"),
    ):
        write_dataset(layout, tmp_path / layout, pictures=1)
        text = f"image,labels\n{name},wheel\n" if layout == "table" else f"{name},0\n"
        (tmp_path / layout / file).write_text(text)
        with pytest.raises(DatasetError, match="names"):
            kind(tmp_path / layout).sample(name)


def test_a_half_of_a_character_is_no_name(tmp_path: Path):
    write_dataset("coco", tmp_path / "coco", pictures=1)
    path = tmp_path / "coco/annotations/instances_val2017.json"
    path.write_text(path.read_text().replace('"categories"', '"\\ud800": 1, "categories"'))
    with pytest.raises(DatasetError, match=r"is no complete JSON \(.*surrogates not allowed"):
        list(COCO(tmp_path / "coco").ids("val2017"))


def test_instances_are_held_one_at_a_time(tmp_path: Path):
    """A JSON of some kB names 40 objects in a picture of a million pixels: together they would take 40 MB."""
    write_dataset("coco", tmp_path / "coco", pictures=1)
    path = tmp_path / "coco/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    picture, category = content["images"][0], content["categories"][0]["id"]
    picture |= {"width": 1000, "height": 1000}
    runs = {"size": [1000, 1000], "counts": [0, 5, 1_000_000 - 5]}
    one = {"image_id": picture["id"], "category_id": category, "iscrowd": 0, "bbox": [0, 0, 1, 5], "segmentation": runs}
    content["annotations"] = [one | {"id": number} for number in range(40)]
    path.write_text(json.dumps(content))
    tracemalloc.start()
    mask = COCO(tmp_path / "coco").mask(f"val2017/{picture['file_name']}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mask is not None
    assert mask.sum() == 5
    assert peak < 20 * 1_000_000  # two numbers of 4 bytes a pixel, and a few copies of one instance


def test_ten_thousands_of_lines_of_one_picture(tmp_path: Path):
    write_dataset("wsol", tmp_path / "wsol", pictures=1)
    (id_,) = WSOL(tmp_path / "wsol").ids("test")
    (tmp_path / "wsol/metadata/SHAPES/test/localization.txt").write_text(f"{id_},1,1,2,2\n" * 50_000)
    assert len(WSOL(tmp_path / "wsol").boxes(id_) or ()) == 50_000  # joined one by one they took minutes


@pytest.mark.parametrize("digits", ["9" * 5000, "\u0663" * 5000])
def test_numbers_of_thousands_of_digits(tmp_path: Path, digits: str):
    with pytest.raises(LabelError, match="the classifier has no class"):
        ClassIndex(["cat"]).find(digits)
    write_dataset("cub200", tmp_path / "cub", pictures=1)
    (tmp_path / "cub/image_class_labels.txt").write_text(f"1 {digits}\n")
    dataset = CUB200(tmp_path / "cub")
    (id_,) = [id_ for split in dataset.splits for id_ in dataset.ids(split)]
    with pytest.raises(DatasetError, match="the class is "):
        dataset.sample(id_)


def test_a_picture_of_endless_size_has_no_boxes(tmp_path: Path):
    write_dataset("voc2012", tmp_path / "voc", pictures=1)
    path = tmp_path / "voc/VOCdevkit/VOC2012/Annotations/2007_000001.xml"
    before = path.read_text()
    width = before[before.index("<width>") : before.index("</width>")]
    path.write_text(before.replace(width, "<width>1e300"))
    with pytest.raises(DatasetError, match="is the size of no picture; correct the file"):
        VOC2012(tmp_path / "voc").boxes("2007_000001")


def test_xml_that_is_too_large_is_not_read(tmp_path: Path):
    with (tmp_path / "a.xml").open("wb") as file:
        file.truncate(reading.MAX_XML_BYTES + 1)
    with pytest.raises(DatasetError, match=r"more than 16,777,216 bytes, which is the most that is read"):
        read_xml(tmp_path / "a.xml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("inner", ['<!ENTITY b SYSTEM "file:///etc/passwd">', '<!ENTITY b "c">', ""])
def test_xml_with_a_document_type(tmp_path: Path, encoding: str, inner: str):
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [{inner}]><a><name>cat</name></a>'
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    with pytest.raises(DatasetError, match="declares the document type 'a'; annotations have none; remove it"):
        read_xml(tmp_path / "a.xml")


def test_endless_lines(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"first\n" + b"x" * 3_000_000)
    for read in (read_lines, numbered_lines):
        lines = read(tmp_path / "a")
        next(lines)
        with pytest.raises(DatasetError, match="has a line of more than 1,000,000 characters"):
            next(lines)
    (tmp_path / "labels.csv").write_bytes(b"image,labels\n" + b"x" * 3_000_000)
    with pytest.raises(DatasetError, match=r"has a line of more than 1,000,000 characters.*; save the table as CSV"):
        LabelTable(tmp_path).splits  # noqa: B018, it reads the table


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_masks_of_more_pixels_than_pictures_may_have(tmp_path: Path):
    """13,350 x 13,350: more than our limit, and not yet more than that of Pillow."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 13_350, 13_350, 8, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")))
    with pytest.raises(DatasetError, match=r"more than 178,000,000 pixels|exceeds limit"):
        read_index_png(tmp_path / "a.png")


def test_damage_that_decoders_name_oddly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "a.png")
    for error in (struct.error("short"), KeyError("a"), IndexError(), EOFError(), OverflowError(), MemoryError()):
        monkeypatch.setattr("advcam.store.reading.np.asarray", lambda _, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(DatasetError, match=r"a\.png cannot be read as a mask"):
            read_index_png(tmp_path / "a.png")


def test_a_table_with_a_column_twice(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("image,labels,labels\na.jpg,cat,dog\n")
    with pytest.raises(LabelError, match="has a column twice"):
        read_label_table(tmp_path / "labels.csv")


def test_many_class_names_are_compared_in_no_time(tmp_path: Path):
    (tmp_path / "names.txt").write_text("".join(f"class {number}\n" for number in range(100_000)))
    assert len(read_class_names(tmp_path / "names.txt").names) == 100_000  # counted one by one they took minutes
    with pytest.raises(LabelError, match="has no class"):
        ClassIndex(["x" * 100_000]).find("y" * 100_000)


def test_wrapped_names_without_end(tmp_path: Path):
    torch.save({"module." * 100_000 + "weight": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="another architecture"):
        load_weights(nn.Linear(1, 1), tmp_path / "a.pth")


def test_tensors_with_names_that_are_no_text(tmp_path: Path):
    torch.save({1: torch.zeros(1), ("a",): torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds no tensors"):
        load_weights(nn.Linear(1, 1), tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore")  # PyTorch warns that such tensors are experimental
@pytest.mark.parametrize(
    "convert",
    [
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.to_sparse_csr(),
        lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
        lambda tensor: tensor.to("meta"),
        lambda tensor: tensor.to(torch.complex64),
    ],
)
def test_tensors_that_no_network_takes(tmp_path: Path, convert):
    torch.save({"weight": convert(torch.ones(2, 3)), "bias": torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(
        WeightsError, match=r"a\.pth: weight is no dense tensor of real numbers; save the network before"
    ):
        load_weights(nn.Linear(3, 2), tmp_path / "a.pth")


def test_an_archive_that_is_larger_than_its_file(tmp_path: Path):
    torch.save({"weight": torch.zeros(1_000_000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "a.pth", "w", 8) as archive:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name))
    with pytest.raises(WeightsError, match=r"a\.pth is a compressed archive of 4,\d+,\d+ bytes"):
        load_weights(nn.Linear(3, 2), tmp_path / "a.pth")


@pytest.mark.parametrize(
    "text",
    [
        "!!timestamp x",
        "!!bool x",
        "!!int ''",
        "!!float ''",
        "9" * 5000,
        '"\\ud800"',
        "a: 1\na: 2",
        "[" * 20,
        "&a [*a]",
        "!!python/name:os.system",
    ],
)
def test_yaml_that_its_parser_fails_on(text: str):
    with pytest.raises(SettingError) as caught:
        parse_yaml(text, "recipe.yaml")
    assert str(caught.value).startswith("recipe.yaml ")
    with pytest.raises(SettingError, match=r"^the value of train\.epochs "):
        change({}, [f"train.epochs={text}"])


def test_a_key_that_stands_twice_is_named():
    with pytest.raises(SettingError, match=r"is no plain YAML \(the key 'epochs' twice in line 3\); mend it"):
        parse_yaml("train:\n  epochs: 1\n  epochs: 2\n", "recipe.yaml")


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        '[{"class_id": 2000000000, "number": 1, "name": "a"}]',
        '[{"class_id": Infinity, "number": 1, "name": "a"}]',
    ],
)
def test_class_numbers_of_a_run(tmp_path: Path, text: str):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(RunError, match="damaged"):
        names_of_run(tmp_path)
    with pytest.raises(RunError, match="damaged"):
        class_numbers(tmp_path)


@pytest.mark.parametrize("value", ["1e999", "NaN", "-0.1", "1.1", "1" + "0" * 400, '"0.3"', "null", DEEP])
def test_thresholds_of_a_run(tmp_path: Path, value: str):
    (tmp_path / "threshold.json").write_text(f'{{"threshold": {value}}}')
    with pytest.raises(RunError, match=r"threshold\.json is missing or damaged"):
        read_threshold(tmp_path)


def test_settings_of_a_run_that_nest_without_end(tmp_path: Path):
    (tmp_path / "config.json").write_text(DEEP)
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        RunDirectory.open(tmp_path, {"maps": {}, "outputs": {}})


@pytest.mark.parametrize(
    "line",
    [DEEP, '{"unit": "a", "picture": "b", "digest": "c"}', '{"unit": [], "picture": 1, "digest": 1, "content": {}}'],
)
def test_records_of_a_run(tmp_path: Path, line: str):
    (tmp_path / "records.jsonl").write_text(f"{line}\n")
    with pytest.raises(RunError, match="is damaged; delete it"):
        RecordFile(tmp_path / "records.jsonl")


@pytest.mark.parametrize(
    "content", [{}, {"record": {}}, {"record": {}, "scaler": None, "version": 1, "facts": {}, "optimizer": []}, []]
)
def test_states_of_a_training(tmp_path: Path, content: object):
    save_file({"model.weight": torch.zeros(1, 1)}, tmp_path / "a.safetensors", {"advcam_training": json.dumps(content)})
    model = nn.Linear(1, 1)
    with pytest.raises(RunError, match=r"a\.safetensors is (damaged|the state of another network)"):
        read_state(tmp_path / "a.safetensors", model, torch.optim.SGD(model.parameters(), lr=0.1), {})


def test_an_id_of_imagenet_that_is_too_long(tmp_path: Path):
    write_dataset("imagenet", tmp_path / "imagenet", pictures=1)
    with pytest.raises(DatasetError, match="a name has at most"):
        ImageNet(tmp_path / "imagenet").sample(f"val/{'x' * 300}.JPEG")


STORED = {"class_ids": (4,), "class_names": ("cat",), "image_size": (20, 30)}


@pytest.mark.parametrize(
    "changed",
    [
        *({"class_ids": (-1,)}, {"class_ids": (1.5,)}, {"class_names": (3,)}, {"image_size": (0, 30)}),
        *({"image_size": (2**31, 2**31)}, {"image_size": (2.5, 3)}, {"maps": np.zeros((1, 0, 3), np.float32)}),
        *({"maps": np.full((1, 2, 3), np.nan, np.float32)}, {"scores": np.zeros(2, np.float32)}),
        {"steps": np.zeros((1, 2, 3), np.float32)},
    ],
)
def test_maps_of_shapes_that_no_picture_has(changed: dict[str, object]):
    values = STORED | {"maps": np.zeros((1, 2, 3), np.float32), "scores": np.zeros(1, np.float32)}
    assert checked_stored(Attribution(**values))
    with pytest.raises(ValueError):
        checked_stored(Attribution(**(values | changed)))


def test_a_shard_of_maps_without_a_picture(tmp_path: Path):
    maps = np.zeros((1, 2, 3), np.float32)
    attribution = Attribution((4,), ("cat",), maps, (0, 30), np.zeros(1, np.float32))
    store = MapStore(tmp_path)
    store.write([StoredMaps("a.jpg", 9, attribution)], 0, 0)
    with pytest.raises(RunError, match=r"is damaged \(a picture of 30 x 0 pixels\)"):
        store.get("a.jpg")
