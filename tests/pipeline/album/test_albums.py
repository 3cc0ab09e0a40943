"""Albums of every kind of run, whole, half deleted, moved and hostile."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_run import drawn_mask, write_run
from PIL import Image

from advcam.cli.app import run as advcam
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import AdvcamError, PictureError, RunError, SettingError
from advcam.pipeline.album import open_album
from advcam.pipeline.album.album import object_box
from advcam.pipeline.album.classes import ClassTable
from advcam.store.masks import read_mask
from advcam.types import Instance

CLIMB = ("--scales", "1", "--iterations", "2", "--precision", "float32", "--quiet")
CHAIN = [
    *("train.model=test_resnet", "train.weights=random", "train.trained=all", "train.frozen_statistics=false"),
    *("train.crop=64", "train.epochs=1", "localize.method=cam", "localize.effort=null", "localize.penalty=null"),
    *("localize.mask_threshold=null", "localize.scales=[1.0]", "refine.methods=[affinity]"),
    *("refine.affinity.iterations=2", "outputs.report_pictures=2", "evaluate.resamples=2"),
    *("segment.network={head: linear, model: test_resnet, weights: random}", "segment.crop=64", "segment.epochs=1"),
    *("segment.objective.frozen_statistics=false", "segment.self_training=0"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn pictures, a chain of them, a localization of some, and a prediction."""
    home = tmp_path_factory.mktemp("world")
    write_dataset("folders", home / "drawn", 12)
    photos = home / "photos"
    (photos / "größe 'x'").mkdir(parents=True)
    for number, name in enumerate(("größe 'x'/a b.png", "c.jpg", "c.png")):
        values = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(values).save(photos / name)
    assert advcam(["localize", str(photos), "--labels", "predicted", "--out", str(home / "maps"), *CLIMB]) == 0
    assert advcam(["run", "folder", f"data.root={home / 'drawn'}", *CHAIN, "--out", str(home / "run"), "--quiet"]) == 0
    predict = ["predict", str(photos), "--segmenter", str(home / "run"), "--out", str(home / "predicted"), "--quiet"]
    assert advcam(predict) == 0
    return home


def test_a_chain(world: Path) -> None:
    album, dataset = open_album(world / "run"), open_dataset(world / "drawn")
    assert (album.kind, album.title) == ("chain", "run")
    assert album.map_stages == ("baseline", "localize", "refine-affinity")[3 - len(album.map_stages) :]
    assert album.mask_sets == ("pseudo", "predictions")
    assert list(album.classes.values()) == list(dataset.class_names)
    train, val = list(dataset.samples("train")), list(dataset.samples("val"))
    assert [sample.id for sample in album.samples] == [sample.id for sample in (*train, *val)]
    first = train[0]
    assert (album.truth(first.id) == dataset.mask(first.id)).all()
    written = read_mask(world / "run" / "pseudo" / "masks" / f"{album.names[first.id]}.png")
    assert (album.final_mask(first.id) == written).all()
    assert {album.classes[number] for number in album.labels(first.id)} == set(first.labels)
    assert set(album.confidence(first.id)) == set(album.labels(first.id))
    assert album.mask("pseudo", val[0].id) is None
    assert album.final_mask(val[0].id).shape == dataset.mask(val[0].id).shape
    assert 0 <= album.disagreement(first.id) <= 1
    assert 0 <= album.threshold <= 1
    row = album.maps("refine-affinity", first.id)
    assert [album.number_of(one) for one in row.attribution.class_ids] == list(album.labels(first.id))


def test_objects_are_those_of_the_run_until_the_mask_is_corrected(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "run", tmp_path / "run")
    shutil.copytree(world / "drawn", tmp_path / "drawn")
    album = open_album(tmp_path / "run")
    id_ = album.samples[0].id
    stored = json.loads((tmp_path / "run" / "pseudo" / "instances.json").read_text())["pictures"][id_]
    objects = album.objects(id_)
    assert [album.classes[one.class_id + 1] for one in objects] == [entry["class"] for entry in stored]
    assert [one.score for one in objects] == [entry["score"] for entry in stored]
    drawn = np.zeros_like(album.final_mask(id_))
    drawn[2:5, 3:9], drawn[10:12, 0:2], drawn[20:30, 20:30] = 1, 1, 255
    album.corrections.save_mask(id_, album.names[id_], drawn, 0)
    large, small = album.objects(id_)
    assert (large.class_id, int(large.mask.sum()), int(small.mask.sum())) == (0, 18, 4)
    assert [(b.x0, b.y0, b.x1, b.y1) for b in album.boxes(id_)] == [(3, 2, 9, 5), (0, 10, 2, 12)]
    annotated = album.annotated(id_)
    assert (annotated.mask == drawn).all()
    assert annotated.labels == album.labels(id_)
    assert annotated.size == drawn.shape
    assert not (album.own_mask(id_) == drawn).all()


def test_a_localization(world: Path) -> None:
    album = open_album(world / "maps")
    assert album.kind == "localize"
    assert (album.map_stages, album.mask_sets) == (("localize",), ("masks",))
    assert [sample.id for sample in album.samples] == ["c.jpg", "c.png", "größe 'x'/a b.png"]
    assert dict(album.names) == {"c.jpg": "c.jpg", "c.png": "c.png", "größe 'x'/a b.png": "größe 'x'/a b"}
    for sample in album.samples:
        row = album.maps("localize", sample.id)
        assert row.attribution.steps is not None
        numbers = tuple(album.number_of(one) for one in row.attribution.class_ids)
        assert album.labels(sample.id) == numbers
        mask, maps = album.final_mask(sample.id), row.attribution.upsample()
        assert set(np.unique(mask)) <= {0, *numbers}
        objects = album.objects(sample.id)
        assert sum(int(one.mask.sum()) for one in objects) == (mask > 0).sum()
        for one in objects:
            assert (mask[one.mask] == one.class_id + 1).all()
            assert one.score == pytest.approx(maps[numbers.index(one.class_id + 1)][one.mask].mean())
    assert album.truth("c.jpg") is None
    assert album.true_boxes("c.jpg") == ()
    assert album.disagreement("c.jpg") is None
    assert album.maps("refine-crf", "c.jpg") is None


def test_a_prediction(world: Path) -> None:
    album = open_album(world / "predicted")
    assert (album.kind, album.map_stages, album.mask_sets) == ("predict", (), ("masks",))
    for sample in album.samples:
        shown = set(np.unique(album.final_mask(sample.id)).tolist()) - {0}
        assert set(album.confidence(sample.id)) == shown == set(album.labels(sample.id))


def test_predictions_that_are_damaged(tmp_path: Path) -> None:
    """The masks can be looked at all the same."""
    run = write_run(tmp_path, {"a": drawn_mask(0)})
    for text in (b"", b"{", b"[" * 20_000, b'{"pictures": []}', b'{"pictures": {"a.png": 3}}'):
        (run / "predictions.json").write_bytes(text)
        album = open_album(run)
        assert album.confidence("a.png") == {}
        assert (album.final_mask("a.png") == drawn_mask(0)).all()


@pytest.mark.parametrize(
    "name", ["x/" * 3000 + "nowhere", "x" * 300, "[/" * 3000 + "nowhere", "a\0b", "../" * 40 + "nowhere"]
)
def test_pictures_that_no_disk_can_hold(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path, {"a": drawn_mask(0)})
    settings = json.loads((run / "settings.json").read_bytes()) | {"inputs": [name]}
    (run / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(SettingError, match="was made of, is not there"):
        open_album(run)


def test_pictures_alone(world: Path, tmp_path: Path) -> None:
    album = open_album(world / "photos", tmp_path / "work")
    assert (album.kind, len(album.samples), dict(album.classes)) == ("pictures", 3, {})
    assert album.final_mask("c.jpg") is None
    assert album.annotated("c.jpg") is None
    labelled = open_album(world / "drawn", tmp_path / "work")
    assert list(labelled.classes.values()) == list(open_dataset(world / "drawn").class_names)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("part", ["pseudo/confidence.csv", "pseudo/instances.json"])
def test_lists_that_are_gone_or_damaged(world: Path, tmp_path: Path, part: str) -> None:
    """What else there is can be looked at."""
    first = open_album(world / "run").samples[0].id
    broken = json.dumps({"pictures": {first: [{"class": "ellipse"}]}}).encode()
    for text in (None, b"", b"{", b"\xff\xfe", b"image,class\nx", b'{"pictures": 3}', b"[" * 20_000, broken):
        run = Path(shutil.copytree(world / "run", tmp_path / "run"))
        shutil.copytree(world / "drawn", tmp_path / "drawn", dirs_exist_ok=True)
        if text is None:
            (run / part).unlink()
        else:
            (run / part).write_bytes(text)
        album = open_album(run)
        id_ = album.samples[0].id
        assert album.final_mask(id_) is not None
        album.objects(id_), album.confidence(id_)
        shutil.rmtree(run)


def test_a_run_that_is_being_written(world: Path, tmp_path: Path) -> None:
    """What is not there yet is absent; what comes is seen."""
    run = Path(shutil.copytree(world / "run", tmp_path / "run"))
    shutil.copytree(world / "drawn", tmp_path / "drawn")
    shutil.move(run / "pseudo", tmp_path / "later")
    shutil.move(run / "localize", tmp_path / "localize")
    shutil.rmtree(run / "predictions")
    album = open_album(run)
    id_ = album.samples[0].id
    assert album.mask_sets == ()
    assert "localize" not in album.map_stages
    assert album.final_mask(id_) is None
    assert album.maps("localize", id_) is None
    shutil.move(tmp_path / "localize", run / "localize")
    shutil.move(tmp_path / "later", run / "pseudo")
    assert "localize" in album.map_stages
    assert album.maps("localize", id_) is not None
    assert album.final_mask(id_) is not None


def test_a_run_and_its_pictures_may_be_moved(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(world / "photos", tmp_path / "there" / "photos")
    monkeypatch.chdir(tmp_path / "there")
    assert advcam(["localize", "photos", "--labels", "predicted", "--out", "maps", *CLIMB]) == 0
    monkeypatch.chdir(tmp_path)
    assert len(open_album(Path("there/maps")).samples) == 3
    (tmp_path / "there").rename(tmp_path / "elsewhere")
    assert len(open_album(tmp_path / "elsewhere" / "maps").samples) == 3
    (tmp_path / "deep").mkdir()
    (tmp_path / "elsewhere").rename(tmp_path / "deep" / "er")
    settings = json.loads((tmp_path / "deep" / "er" / "maps" / "settings.json").read_text())
    (tmp_path / "deep" / "er" / "photos" / "labels.csv").write_text("image,labels\nc.png,espresso\n")
    settings |= {"inputs": ["made/here/photos"], "labels": "made/here/photos/labels.csv"}
    (tmp_path / "deep" / "er" / "maps" / "settings.json").write_text(json.dumps(settings))
    assert [sample.id for sample in open_album(tmp_path / "deep" / "er" / "maps").samples] == ["c.png"]
    settings |= {"inputs": ["photos"], "labels": "predicted"}
    (tmp_path / "deep" / "er" / "maps" / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "deep" / "er").rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere" / "photos")
    with pytest.raises(SettingError) as caught:
        open_album(tmp_path / "elsewhere" / "maps")
    assert str(caught.value) == (
        f"photos, which {tmp_path / 'elsewhere' / 'maps'} was made of, is not there; start the command in the folder "
        "where the run was made, or put photos beside the run"
    )


def test_what_is_no_run(world: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"does not exist; name the --out of advcam run, localize or predict$"):
        open_album(tmp_path / "none")
    with pytest.raises(SettingError, match="is a file; name"):
        open_album(world / "photos" / "c.jpg")
    with pytest.raises(SettingError, match=r"holds no run of advcam: neither recipe\.yaml nor settings\.json"):
        open_album(world / "photos")
    with pytest.raises(SettingError) as caught:
        open_album(world / "run" / "pseudo")
    assert (
        str(caught.value)
        == f"{world / 'run' / 'pseudo'} is part of a run of advcam; name the run itself, {world / 'run'}"
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"settings\.json is missing, which says where the pictures of the run are"):
        open_album(tmp_path / "run")
    for text in ("", "[]", "{", '{"inputs": 3}', '{"segmenter": []}'):
        (tmp_path / "run" / "settings.json").write_text(text)
        with pytest.raises(AdvcamError):
            open_album(tmp_path / "run")
    with pytest.raises(RunError, match=r"has no picture 'x'; it has 3 pictures"):
        open_album(world / "maps").sample("x")


def test_class_tables() -> None:
    """Many classes leave 255 out; numbers are found by name, case alike, or by the number of the output."""
    many = ClassTable.of([f"class {number}" for number in range(300)])
    assert (many.names[254], many.names[256]) == ("class 253", "class 254")
    assert 255 not in many.names
    table = ClassTable({7: "Cat", 9: "dog"}, {281: 7, 3: 9})
    assert (table.number("cat "), table.number("281"), table.number("cow"), table.number("5")) == (7, 7, None, None)
    mask = np.array([[0, 1, 2, 255]], dtype=np.int32)
    assert table.renumbered(mask, ClassTable({1: "dog", 2: "cow"})).tolist() == [[0, 9, 255, 255]]
    assert table.translated(mask, ("DOG", "cat")).tolist() == [[0, 9, 7, 255]]
    assert table.translated(mask, ("dog", "cow")) is None
    assert table.translated(mask[:, :2], ("dog", "cow")).tolist() == [[0, 9]]


def test_boxes_of_objects() -> None:
    pixels = np.zeros((6, 8), dtype=np.bool_)
    pixels[1, 2] = True
    box = object_box(Instance(3, pixels, 0.5))
    assert (box.class_id, box.x0, box.y0, box.x1, box.y1, box.score) == (3, 2, 1, 3, 2, 0.5)
    with pytest.raises(PictureError, match="without a pixel has no box"):
        object_box(Instance(3, np.zeros((6, 8), dtype=np.bool_), 0.5))
