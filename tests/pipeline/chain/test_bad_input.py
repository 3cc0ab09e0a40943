"""Labels and pictures as they really come: few, one-sided, missing, broken; and settings that cannot work."""

import json
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chains import content, files, records, run, settings, without_truth
from PIL import Image
from safetensors.torch import load_file, save_file

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import AdvcamError, DivergedError, LabelError, RunError, SettingError
from advcam.pipeline.chain.irn import confidences
from advcam.pipeline.chain.recipe_file import parse_chain
from advcam.pipeline.chain.settings import IrnRefinement
from advcam.store.masks import read_mask


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve pictures of a table in one split, one label each, without masks."""
    root = tmp_path / "data"
    write_dataset("table", root, 12)
    without_truth(root)
    shapes = ("ellipse", "rectangle", "triangle", "wheel")
    label(root, [shapes[number % 4] for number in range(12)])
    return root


def label(root: Path, labels: list[str], names: str = "") -> None:
    """Give the pictures 1, 2, .. these labels, and no others."""
    rows = [f"pictures/{number}.jpg,{text}" for number, text in enumerate(labels, 1)]
    (root / "labels.csv").write_text("\n".join(["image,labels", *rows]) + "\n")
    if names:
        (root / "classes.txt").write_text(names.replace(" ", "\n") + "\n")


def toy(root: Path, *overrides: str):
    return settings(root, *overrides, train="all")


def refused(root: Path, *overrides: str, kind: type[AdvcamError] = AdvcamError) -> str:
    """The error of a chain, one line."""
    with pytest.raises(kind) as caught:
        run(toy(root, *overrides), root.parent / "run")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_class_without_a_picture(table: Path) -> None:
    label(table, ["ellipse", "wheel"] * 6, "ellipse rectangle wheel")
    words = refused(table, kind=LabelError)
    assert words == (
        "no picture to train with shows rectangle; add pictures, remove the class from the list, or allow it with "
        "allow_absent"
    )
    run(toy(table, "train.allow_absent=true"), table.parent / "run")
    notes = records(toy(table, "train.allow_absent=true"), table.parent / "run")["train"].notes
    assert "no picture to train with shows rectangle: nothing is learnt of it" in notes


def test_a_class_of_one_picture_is_learnt_and_noted(table: Path) -> None:
    label(table, ["rectangle", *["ellipse", "wheel"] * 5, "wheel"])
    run(toy(table), table.parent / "run", until="train")
    notes = records(toy(table), table.parent / "run")["train"].notes
    assert "one picture only shows rectangle: what is learnt of it is that picture" in notes


def test_all_pictures_of_one_class(table: Path) -> None:
    label(table, ["wheel"] * 12)
    words = refused(table, kind=LabelError)
    assert "pictures show wheel: there is nothing to tell apart; add a class, or pictures without the object" in words
    run(toy(table, "train.kind=multi-label"), table.parent / "run", until="train")
    notes = records(toy(table, "train.kind=multi-label"), table.parent / "run")["train"].notes
    assert "every picture shows wheel: nothing tells it from its surroundings" in notes


def test_no_labels_at_all(table: Path) -> None:
    label(table, [""] * 12, "ellipse wheel")
    assert "shows a class; give the labels of the pictures" in refused(table, kind=LabelError)


def test_held_out_pictures_count_for_the_kind(table: Path) -> None:
    """One picture of several classes, by chance held out: the classifier is a multi-label one all the same."""
    for number in range(12):
        label(table, ["wheel;ellipse" if n == number else ("wheel", "ellipse")[n % 2] for n in range(12)])
        run(toy(table), table.parent / f"run{number}", until="train")
        facts = json.loads((table.parent / f"run{number}" / "classifier" / "classifier.json").read_text())
        assert facts["multi_label"] is True


def test_labels_of_pictures_that_are_not_there(table: Path) -> None:
    (table / "pictures" / "3.jpg").unlink()
    made = toy(table)
    run(made, table.parent / "run")
    found = records(made, table.parent / "run")
    (skip,) = found["localize"].skipped
    assert skip[0] == "pictures/3.jpg"
    assert "3.jpg does not exist" in skip[1]
    assert found["pseudo"].skipped == [("pictures/3.jpg", "it has no scores")]
    assert len(files(table.parent / "run" / "pseudo" / "masks")) == 11


def test_no_picture_at_all(table: Path) -> None:
    shutil.rmtree(table / "pictures")
    assert "not exist" in refused(table) or "not one picture" in refused(table)


@pytest.mark.parametrize("method", ["affinity", "irn"])
def test_unreadable_pictures_are_skipped_and_named(table: Path, method: str) -> None:
    (table / "pictures" / "1.jpg").write_bytes((table / "pictures" / "1.jpg").read_bytes()[:400])
    (table / "pictures" / "2.jpg").write_text("this is no picture")
    made = toy(table, f"refine.methods=[{method}]")
    run(made, table.parent / "run")
    found = records(made, table.parent / "run")
    broken = {"pictures/1.jpg", "pictures/2.jpg"}
    assert {id_ for id_, _ in found["train"].skipped} <= broken
    for name in ("localize", f"refine-{method}", "pseudo"):
        assert {id_ for id_, _ in found[name].skipped} == broken
    assert all("jpg" in reason for _, reason in found["localize"].skipped)
    assert len(files(table.parent / "run" / "pseudo" / "masks")) == 10
    page = (table.parent / "run" / "report.html").read_text()
    assert "2 skipped (stages/localize.json)" in page


def test_a_picture_that_broke_after_its_maps_were_made(table: Path) -> None:
    made = toy(table)
    run(made, table.parent / "run", until="localize")
    first = table / "pictures" / "1.jpg"
    first.write_bytes(first.read_bytes()[:400])
    refined = content(table, train="all") | {"maps": str(table.parent / "run" / "localize")}
    del refined["train"]
    again = parse_chain(refined | {"refine": {"methods": ["affinity"]}}, "refine")
    run(again, table.parent / "refined")
    found = records(again, table.parent / "refined")
    assert [id_ for id_, _ in found["refine-affinity"].skipped] == ["pictures/1.jpg"]
    page = (table.parent / "refined" / "report.html").read_text()
    assert "refine-affinity of rectangle of pictures/" in page


def test_a_class_that_got_no_pixel_is_named(table: Path) -> None:
    made = toy(table, "pseudo.threshold=1.0")
    run(made, table.parent / "run")
    (note,) = records(made, table.parent / "run")["pseudo"].notes
    assert note.startswith("12 labelled classes got no pixel: ellipse in pictures/1.jpg, ")
    assert note.endswith(" and 7 more (0 pixels in confidence.csv)")
    for path in (table.parent / "run" / "pseudo" / "masks" / "pictures").iterdir():
        assert (read_mask(path) == 0).all()
    assert not any(
        entry["boxes"]
        for entry in json.loads((table.parent / "run" / "pseudo" / "boxes.json").read_text())["pictures"].values()
    )


@pytest.mark.parametrize("method", ["affinity", "crf", "irn"])
def test_maps_of_zeros(table: Path, method: str) -> None:
    """A class whose output no feature speaks for has an empty map in every picture: no pixel, and everything ends."""
    made = toy(table, f"refine.methods=[{method}]", "pseudo.threshold=null", "threshold=null")
    run(made, table.parent / "run", until="train")
    weights = load_file(table.parent / "run" / "classifier" / "best.safetensors")
    save_file(
        {name: value * 0 - 1 if name == "fc.weight" else value for name, value in weights.items()},
        table.parent / "run" / "classifier" / "best.safetensors",
    )
    run(made, table.parent / "run")
    found = records(made, table.parent / "run")
    assert "the default, since" in dict(found["threshold"].facts)["threshold"]
    assert found["pseudo"].notes[0].startswith("12 labelled classes got no pixel")
    assert all((read_mask(p) == 0).all() for p in (table.parent / "run" / "pseudo" / "masks").rglob("*.png"))


def test_thresholds_crossed(table: Path) -> None:
    """Whether both are given, or one meets what the maps' threshold makes of the other."""
    assert confidences(IrnRefinement(), 0.3) == pytest.approx((0.35, 0.15))
    assert confidences(IrnRefinement(conf_fg=0.9, conf_bg=0.0), 0.3) == (0.9, 0.0)
    assert confidences(IrnRefinement(), 0.98) == pytest.approx((1.0, 0.83))
    assert confidences(IrnRefinement(), 0.1) == pytest.approx((0.15, 0.0))
    words = refused(table, "refine.methods=[irn]", "refine.irn.conf_bg=0.6", kind=SettingError)
    assert words == (
        "thresholds crossed: conf_bg 0.6 is above conf_fg 0.35, and nothing would be unsure; set "
        "refine.irn.conf_bg below refine.irn.conf_fg"
    )


def test_a_checkpoint_of_other_classes(table: Path, tmp_path: Path) -> None:
    """A classifier that does not know a label of the data set: its pictures are refused by name."""
    run(toy(table), tmp_path / "trained", until="train")
    label(table, ["pyramid" if n == 4 else ("wheel", "ellipse")[n % 2] for n in range(12)])
    made = content(table, train="all")
    del made["train"]
    folder = tmp_path / "trained" / "classifier"
    made["model"] = {
        "model": "test_resnet",
        "weights": str(folder / "best.safetensors"),
        "class_names": str(folder / "classes.txt"),
    }
    with pytest.raises(LabelError) as caught:
        run(parse_chain(made, "mine"), tmp_path / "run")
    assert "pyramid" in str(caught.value)
    (folder / "classes.txt").write_text("one\ntwo\n")
    with pytest.raises(AdvcamError) as caught:
        run(parse_chain(made, "mine"), tmp_path / "run")
    assert "4" in str(caught.value)
    assert "2" in str(caught.value)


@pytest.mark.parametrize("trained", ["all", "head"])
def test_a_training_that_diverges(table: Path, trained: str) -> None:
    overrides = ["train.lr=1e6", f"train.trained={trained}", "train.optimizer=sgd", "train.epochs=20"]
    words = refused(table, *overrides, kind=DivergedError)
    assert words.startswith("training diverged ")
    assert "lower lr to 3e+05" in words
    assert run(toy(table), table.parent / "run", until="train") == {"train": "to be redone"}, "a lower one goes on"


def test_a_mixture_of_a_network_without_a_linear_head(table: Path) -> None:
    words = refused(table, "train.model=levit_128s", "train.trained=mixture", "train.allow_absent=true")
    assert words.endswith('take "head", "last" or "all"')


def test_weights_that_are_missing(table: Path) -> None:
    assert "resnet50 needs its weights" in refused(table, "train.model=resnet50", "train.weights=null")
    assert "absent.safetensors" in refused(table, "train.weights=absent.safetensors")


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 30 kB, as on a disk that runs full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_is_full_during_a_checkpoint(table: Path, request: pytest.FixtureRequest) -> None:
    run(toy(table), table.parent / "whole", until="pseudo")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    request.getfixturevalue("small_files")
    words = refused(table, kind=RunError)
    assert words.startswith(f"cannot write {table.parent / 'run' / 'classifier'}")
    assert "(File too large); make room, change the permissions or choose another --out" in words
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((table.parent / "run").rglob("*.partial"))
    assert run(toy(table), table.parent / "run", until="pseudo")["train"] == "to be finished"
    assert files(table.parent / "run" / "pseudo") == files(table.parent / "whole" / "pseudo")


def test_a_disk_that_is_full_for_everything(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage's own words are the ones that are said, not those of its record."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def work(*_: object, **__: object) -> None:
        monkeypatch.setattr("os.fsync", full)
        raise RunError("the stage's own words")

    monkeypatch.setattr("advcam.pipeline.chain.training.train_classifier", work)
    assert refused(table, kind=RunError) == "the stage's own words"


def test_a_run_directory_that_cannot_be_written(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    words = refused(table, kind=RunError)
    assert words == (
        f"cannot write {table.parent / 'run' / '.working'} (No space left on device); make room, change the "
        "permissions or choose another --out"
    )


def test_another_size_than_when_the_maps_were_made(table: Path) -> None:
    """The file of a picture that was turned, with its old maps: said and skipped, not stretched."""
    run(toy(table), table.parent / "run", until="localize")
    path = table / "pictures" / "1.jpg"
    Image.fromarray(np.zeros((96, 70, 3), np.uint8)).save(path)
    refined = content(table, train="all") | {"maps": str(table.parent / "run" / "localize")}
    del refined["train"]
    again = parse_chain(refined | {"refine": {"methods": ["crf"]}}, "refine")
    run(again, table.parent / "refined")
    ((id_, reason),) = records(again, table.parent / "refined")["refine-crf"].skipped
    assert id_ == "pictures/1.jpg"
    assert reason == f"{path} has another size than when its maps were made; localize it again"
