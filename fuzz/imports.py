"""What annotation tools give back: `advcam import`, each file of an export changed in turn."""

import base64
import io
import json
import random
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from advcam.errors import AdvcamError
from advcam.export.brush_rle import decode_brush, encode_brush
from advcam.pipeline.album import open_album
from advcam.pipeline.exporting import export_run
from advcam.pipeline.importing import import_masks
from fuzz.mutation import of_bytes, of_json, of_json_lines, of_png, of_text, of_xml, of_yaml
from fuzz.runs import write_prediction
from fuzz.shards import of_parquet
from fuzz.target import Mutate, Target, check_words

_BRUSH_SIZE = (20, 24)
_BASE64 = re.compile(rb'"mask": "([A-Za-z0-9+/=]+)"')
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
#: What a number of an attribute or of a list of points is changed to.
_ODD = ("-1", "0", "9" * 9, "9" * 4300, "1e9", "1e999", "nan", "0.5", "", "1,1", "\u0663")
#: Regions of Label Studio beside brushes.
_SHAPES = (
    ("polygonlabels", {"points": [[10, 10], [60, 10], [60, 60]]}),
    ("rectanglelabels", {"x": 10, "y": 10, "width": 30, "height": 40, "rotation": 15}),
    ("ellipselabels", {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10}),
)
#: The same for CVAT.
_ELEMENTS = (
    '<polygon label="cat" points="1.5,1.5;9.0,1.5;9.0,9.0" z_order="1"/>'
    '<box label="dog" xtl="2" ytl="3" xbr="9" ybr="12" rotation="30" z_order="2"/>'
    '<ellipse label="cat" cx="9" cy="9" rx="4" ry="2" z_order="0"/></image>'
)
_LABELME = (("polygon", [[1, 1], [9, 1], [9, 9]]), ("rectangle", [[1, 2], [5, 9]]), ("circle", [[9, 9], [12, 9]]))


class _Watcher:
    """Nobody."""

    def start(self, words: str, total: int) -> None:
        """Nothing is said."""

    def step(self) -> None:
        """Nothing is counted."""


def _export(folder: Path, format_: str) -> Path:
    """An export of a run of two pictures."""
    out = folder / "out"
    export_run(open_album(write_prediction(folder)), format_, out, "all", _Watcher())
    return out


def _import_reader(format_: str, *names: str, whole: bool = False) -> Callable[[Path], Callable[[bytes], object]]:
    """`prepare` for files of an export.

    Args:
        format_: Of the export.
        names: The files, each replaced alone.
        whole: The file is named, not its folder.
    """

    def prepare(folder: Path) -> Callable[[bytes], object]:
        out = _export(folder, format_)
        album = open_album(folder / "run")
        kept = {name: (out / name).read_bytes() if (out / name).exists() else b"" for name in names}

        def of(content: bytes) -> None:
            refused = None
            for name in names:
                (out / name).write_bytes(content)
                try:
                    import_masks(format_, out / name if whole else out, album, _Watcher())
                except AdvcamError as error:
                    check_words(str(error))
                    refused = error
                finally:
                    (out / name).write_bytes(kept[name])
                    shutil.rmtree(album.corrections.folder, ignore_errors=True)
            if refused and len(names) == 1:
                raise refused

        return of

    return prepare


def _files(format_: str, *names: str) -> Callable[[Path], list[bytes]]:
    """`seeds` for files of an export."""

    def seeds(folder: Path) -> list[bytes]:
        out = _export(folder, format_)
        return [(out / name).read_bytes() for name in names]

    return seeds


def _tasks(folder: Path) -> list[bytes]:
    """Brushes, and every other region."""
    (content,) = _files("label-studio", "tasks.json")(folder)
    tasks = json.loads(content)
    for kind, value in _SHAPES:
        common = {"type": kind, "original_width": 24, "original_height": 20, "image_rotation": 0}
        tasks[0]["predictions"][0]["result"].append(common | {"value": value | {kind: ["dog"]}})
    return [json.dumps(tasks).encode(), content]


def _annotations(folder: Path) -> list[bytes]:
    """Masks, and every other shape."""
    (content,) = _files("cvat", "annotations.xml")(folder)
    return [content.replace(b"</image>", _ELEMENTS.encode(), 1), content]


def _archives(folder: Path) -> list[bytes]:
    """The archive that CVAT gives, packed and not."""
    made = []
    for how in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", how) as packed:
            packed.writestr("annotations.xml", _annotations(folder / str(how))[0])
        made.append(buffer.getvalue())
    return made


def _labelme(folder: Path) -> list[bytes]:
    """Masks, and every other shape."""
    (content,) = _files("labelme", "a.json")(folder)
    tree = json.loads(content)
    tree["shapes"] += [{"label": "cat", "shape_type": kind, "points": points} for kind, points in _LABELME]
    return [json.dumps(tree).encode(), content]


def _brushes(_folder: Path) -> list[bytes]:
    mask = np.zeros(_BRUSH_SIZE, dtype=np.bool_)
    mask[3:9, 4:20] = True
    return [bytes(encode_brush(mask)), bytes(encode_brush(~mask))]


def _brush_reader(_folder: Path) -> Callable[[bytes], object]:
    """The run lengths of Label Studio alone; a ValueError is their refusal."""

    def of(content: bytes) -> None:
        try:
            mask = decode_brush(list(content), _BRUSH_SIZE)
        except ValueError as error:
            check_words(str(error))
        else:
            assert mask.shape == _BRUSH_SIZE  # noqa: S101, a finding where it fails

    return of


def _of_shapes(content: bytes, draw: random.Random) -> bytes:
    """Change one number of an attribute, or as any XML."""
    text = content.decode("utf-8", "replace")
    places = list(_NUMBER.finditer(text)) if draw.random() < 0.6 else []
    if not places:
        return of_xml(content, draw)
    place = draw.choice(places)
    return (text[: place.start()] + draw.choice(_ODD) + text[place.end() :]).encode()


def _of_labelme(content: bytes, draw: random.Random) -> bytes:
    """Change the PNG of a mask, or as any JSON."""
    found = _BASE64.search(content) if draw.random() < 0.4 else None
    if found is None:
        return of_json(content, draw)
    try:
        png = of_png(base64.b64decode(found[1]), draw)
    except ValueError:
        return of_json(content, draw)
    return content[: found.start(1)] + base64.b64encode(png) + content[found.end(1) :]


def _of_yolo(content: bytes, draw: random.Random) -> bytes:
    return of_yaml(content, draw) if b"names" in content else of_text(content, draw)


def _target(format_: str, mutate: Mutate, *names: str) -> Target:
    return Target(f"import-{format_}", _import_reader(format_, *names), _files(format_, *names), mutate)


_COCO, _PANOPTIC = "annotations/instances_default.json", "annotations/panoptic_default.json"
TARGETS = (
    _target("coco", of_json, _COCO),
    _target("coco-polygons", of_json, _COCO),
    _target("coco-panoptic", of_json, _PANOPTIC),
    _target("yolo", _of_yolo, "labels/a.txt", "data.yaml"),
    _target("parquet", of_parquet, "masks.parquet"),
    _target("image-folder", of_json_lines, "metadata.jsonl", "classes.json"),
    Target(
        "import-voc-mask",
        _import_reader("voc", "SegmentationClass/a.png"),
        _files("voc", "SegmentationClass/a.png"),
        of_png,
    ),
    Target("import-voc-labels", _import_reader("voc", "labelmap.txt"), _files("voc", "labelmap.txt"), of_text),
    Target(
        "import-panoptic-png",
        _import_reader("coco-panoptic", "annotations/panoptic_default/a.png"),
        _files("coco-panoptic", "annotations/panoptic_default/a.png"),
        of_png,
    ),
    Target("import-label-studio", _import_reader("label-studio", "tasks.json"), _tasks, of_json),
    Target("import-cvat", _import_reader("cvat", "annotations.xml"), _annotations, _of_shapes),
    Target("import-cvat-zip", _import_reader("cvat", "task.zip", whole=True), _archives, of_bytes),
    Target("import-labelme", _import_reader("labelme", "a.json"), _labelme, _of_labelme),
    Target("brush-rle", _brush_reader, _brushes, of_bytes),
)
