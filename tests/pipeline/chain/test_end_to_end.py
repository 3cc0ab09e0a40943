"""From labelled pictures to masks in every layout and with every refinement: what comes out fits together."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from chains import content, files, records, run, settings, without_truth
from pycocotools import mask as rle

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.synthetic.coco import write_coco
from advcam.datasets.synthetic.folder import write_class_folders
from advcam.errors import RunError, SettingError
from advcam.pipeline.chain.pictures import hold_out, read_pictures
from advcam.pipeline.chain.recipe_file import parse_chain, read_chain
from advcam.pipeline.chain.run import Chain, open_chain
from advcam.store.maps import MapStore
from advcam.store.masks import read_mask
from advcam.store.run import output_names
from advcam.types import Sample


def check_labels(out: Path, dataset: Dataset, samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """Masks, boxes and confidences of a run say the same of the same classes; the masks by id."""
    numbers = {e["name"]: e["number"] for e in json.loads((out / "pseudo" / "classes.json").read_text())}
    assert [numbers[name] for name in dataset.class_names] == list(range(1, len(dataset.class_names) + 1))
    names = output_names([sample.id for sample in samples])
    boxes = json.loads((out / "pseudo" / "boxes.json").read_text())["pictures"]
    objects = json.loads((out / "pseudo" / "instances.json").read_text())["pictures"]
    rows = list(csv.DictReader((out / "pseudo" / "confidence.csv").open()))
    assert list(objects) == list(boxes)
    assert list(boxes) == [sample.id for sample in samples]
    assert sorted((row["image"], row["class"]) for row in rows) == sorted(
        (sample.id, label) for sample in samples for label in sample.labels or ()
    )
    assert [float(row["confidence"]) for row in rows] == sorted(float(row["confidence"]) for row in rows)
    assert all(0 <= float(row["confidence"]) <= 1 for row in rows)
    masks = {}
    for sample in samples:
        mask = masks[sample.id] = read_mask(out / "pseudo" / "masks" / f"{names[sample.id]}.png")
        labelled = {numbers[label] for label in sample.labels or ()}
        assert set(np.unique(mask)) <= {0, 255} | labelled
        entry = boxes[sample.id]
        assert (entry["height"], entry["width"]) == mask.shape
        for row in (row for row in rows if row["image"] == sample.id):
            assert int(row["pixels"]) == (mask == numbers[row["class"]]).sum()
            own = [box for box in entry["boxes"] if box["class"] == row["class"]]
            covered = np.zeros(mask.shape, dtype=bool)
            for box in own:
                assert 0 <= box["x0"] < box["x1"] <= entry["width"]
                assert 0 <= box["y0"] < box["y1"] <= entry["height"]
                covered[box["y0"] : box["y1"], box["x0"] : box["x1"]] = True
            assert not (mask == numbers[row["class"]])[~covered].any(), "every pixel of a class lies in a box of it"
            assert bool(own) == (int(row["pixels"]) > 0)
            parts = [one for one in objects[sample.id] if one["class"] == row["class"]]
            pixels = sum((rle.decode(one["segmentation"]).astype(int) for one in parts), np.zeros(mask.shape, int))
            assert np.array_equal(pixels, mask == numbers[row["class"]]), "objects are the parts of the mask, each once"
    return masks


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "folders"
    write_dataset("folders", root, 12)
    return root


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "table"
    write_dataset("table", root, 12)
    return root


@pytest.mark.parametrize(
    ("layout", "data", "pictures"),
    [
        ("folders", {"val": "val"}, 8),
        ("table", {"val": "val"}, 8),
        ("voc2012", {"train": "trainaug", "val": "val"}, 8),
        ("pets", {"train": "trainval", "masks": "test"}, 4),
        ("coco", {"train": "val2017"}, 10),
        ("imagenet", {"train": "val"}, 12),
    ],
)
def test_every_layout(tmp_path: Path, layout: str, data: dict[str, str], pictures: int) -> None:
    write_dataset(layout, tmp_path / "data", 10 if layout == "coco" else 12)
    made = settings(tmp_path / "data", "train.allow_absent=true", **data)
    stages = run(made, tmp_path / "run")
    classify = ["classify"] * (layout == "imagenet")  # the truth is boxes: Top-1 and Top-5 Loc are scored
    assert list(stages) == ["train", "localize", *classify, "pseudo", "evaluate"]
    chain = Chain(made, tmp_path / "run")
    assert len(chain.pictures.masks) == pictures
    check_labels(tmp_path / "run", chain.pictures.dataset, chain.pictures.masks)
    scores = dict(records(made, tmp_path / "run")["evaluate"].facts)
    assert list(scores) == ["localize", "pseudo"]
    assert "(masks as they are) on" in scores["pseudo"]
    assert scores["localize"].startswith("MaxBoxAccV2 " if layout == "imagenet" else "mIoU ")
    page = (tmp_path / "run" / "report.html").read_text()
    assert all(f'<th scope="row">{name}</th>' in page for name in stages)


def test_every_refinement(table: Path, tmp_path: Path) -> None:
    """All of them in one chain, thresholds by the label-free rule; pictures of several classes and of none."""
    made = settings(table, "refine.methods=[affinity, irn, crf]", "threshold=null", "pseudo.threshold=null")
    made = made.model_copy(update={"refine": made.refine.model_copy(update={"irn": _with_instances(made)})})
    out = tmp_path / "run"
    names = ["train", "localize", "threshold", "refine-affinity", "refine-irn", "refine-crf", "pseudo", "evaluate"]
    assert list(run(made, out)) == names
    found, pictures = records(made, out), read_pictures(made.data)
    assert any(sample.labels == () for sample in pictures.masks)
    assert any(len(sample.labels or ()) == 2 for sample in open_dataset(table).samples("val"))
    masks = check_labels(out, pictures.dataset, pictures.masks)
    chosen = dict(found["pseudo"].facts)
    assert (chosen["threshold"], chosen["chosen"]) == ("0.5", "half of the marginals")
    assert "no mask seen" in dict(found["threshold"].facts)["threshold"] or "default" in str(found["threshold"].facts)
    assert list(dict(found["evaluate"].facts)) == ["localize", "refine-affinity", "refine-irn", "refine-crf", "pseudo"]
    assert not any(record.skipped for record in found.values())
    assert all((masks[s.id] == 0).all() for s in pictures.masks if not s.labels), "no class, no pixel"
    for sample in pictures.masks:
        name = output_names([s.id for s in pictures.masks])[sample.id]
        assert (out / "refined" / "irn" / "labels" / f"{name}.png").exists()
        for instance in json.loads((out / "refined" / "irn" / "instances" / f"{name}.json").read_text()):
            assert instance["class"] in (sample.labels or ())
            assert 0 <= instance["score"] <= 1
    page = (out / "report.html").read_text()
    assert all(f'<th scope="row">{name}</th>' in page for name in names)
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def _with_instances(made):
    return made.refine.irn.model_copy(update={"instances": True})


def test_refinements_in_a_row(table: Path, tmp_path: Path) -> None:
    """Each starts from what the one before it left: other settings of the first redo the second, too."""
    made = settings(table, "refine.methods=[crf, affinity, affinity+crf]", "pseudo.threshold=null")
    names = ["train", "localize", "refine-crf", "refine-affinity", "refine-affinity+crf", "pseudo", "evaluate"]
    assert list(run(made, tmp_path)) == names
    check_labels(tmp_path, (pictures := read_pictures(made.data)).dataset, pictures.masks)
    assert dict(records(made, tmp_path)["pseudo"].facts)["chosen"] == "half of the marginals"
    maps = {}
    for method in ("crf", "affinity", "affinity+crf"):
        store = MapStore(tmp_path / "refined" / method / "maps")
        maps[method] = {sample.id: store.get(sample.id).attribution.maps for sample in pictures.masks}
    assert any((maps["crf"][i] != maps["affinity+crf"][i]).any() for i in maps["crf"])
    again = run(
        settings(table, "refine.methods=[crf, affinity, affinity+crf]", "refine.affinity.iterations=3"), tmp_path
    )
    assert [again[name] for name in names[:5]] == ["done", "done", "done", "to be redone", "to be redone"]


def test_the_climb_and_its_baseline(folders: Path, tmp_path: Path) -> None:
    made = settings(folders, "localize={method: advcam, iterations: 1, scales: [1.0], precision: float32}", val="val")
    assert list(run(made, tmp_path)) == ["train", "localize", "baseline", "pseudo", "evaluate"]
    assert list(dict(records(made, tmp_path)["evaluate"].facts)) == ["baseline", "localize", "pseudo"]
    without = settings(folders, "localize={method: advcam, iterations: 1, scales: [1.0]}", "baseline=null", val="val")
    assert "baseline" not in [stage.name for stage in Chain(without, tmp_path / "b").stages]


def test_the_same_recipe_gives_the_same_masks(folders: Path, tmp_path: Path) -> None:
    made = settings(folders, "refine.methods=[irn]", val="val")
    for name in ("a", "b"):
        run(made, tmp_path / name, until="pseudo")
    for part in ("pseudo", "refined/irn/labels"):
        assert files(tmp_path / "a" / part) == files(tmp_path / "b" / part)


def test_the_kept_recipe_does_the_same(folders: Path, tmp_path: Path) -> None:
    made = settings(folders, train="train", val="val")
    run(made, tmp_path / "a", until="localize")
    kept = read_chain(str(tmp_path / "a" / "recipe.yaml"))
    assert kept == made
    assert run(kept, tmp_path / "a", until="localize") == {"train": "done", "localize": "done"}


def test_without_truth_there_is_nothing_to_evaluate(tmp_path: Path) -> None:
    write_dataset("table", tmp_path / "data", 12)
    without_truth(tmp_path / "data")
    made = settings(tmp_path / "data")
    assert list(run(made, tmp_path / "run")) == ["train", "localize", "pseudo"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert 'id="scores"' not in page
    assert "<figcaption>mask</figcaption>" in page
    assert "<figcaption>truth</figcaption>" not in page


def test_thresholds_of_the_masks(folders: Path, tmp_path: Path) -> None:
    """A band leaves pixels undecided, a threshold of a class is its own, a higher one gives fewer pixels."""
    base = settings(folders, val="val")
    run(base, tmp_path, until="pseudo")
    pictures = read_pictures(base.data)

    def masks(*overrides: str) -> dict[str, np.ndarray]:
        made = settings(folders, *overrides, val="val")
        run(made, tmp_path, until="pseudo")
        return check_labels(tmp_path, pictures.dataset, pictures.masks)

    plain = masks()
    assert not any((mask == 255).any() for mask in plain.values())
    high = masks("pseudo.threshold=0.6")
    assert sum((mask > 0).sum() for mask in high.values()) < sum((mask > 0).sum() for mask in plain.values())
    band = masks("pseudo.band=0.2")
    assert any((mask == 255).any() for mask in band.values())
    assert all(((band[i] == 0) <= (plain[i] == 0)).all() for i in plain)
    wheels = [sample.id for sample in pictures.masks if sample.labels == ("wheel",)]
    own = masks("pseudo.class_thresholds={wheel: 1.0}")
    assert all((own[i] == 0).all() for i in wheels)
    assert all((own[i] == plain[i]).all() for i in plain if i not in wheels)
    named = dict(
        records(settings(folders, "pseudo.class_thresholds={wheel: 1.0}", val="val"), tmp_path)["pseudo"].facts
    )
    assert named["chosen"] == "as the recipe has it"
    assert dict(named)["threshold"] == "0.3"
    maps = masks("pseudo.threshold=null", "threshold=0.6")
    assert all((maps[i] == high[i]).all() for i in plain), "that of the maps"


def test_thresholds_that_no_mask_can_have(folders: Path, tmp_path: Path) -> None:
    for override, words in (
        ("pseudo.band=0.8", "the band 0.8 around the threshold 0.3 reaches from -0.1 to 0.7"),
        ("pseudo.class_thresholds={wheel: 1.5}", "the threshold of 'wheel' lies between 0 and 1; got 1.5"),
        ("pseudo.class_thresholds={whel: 0.5}", "names 'whel', which is no class; did you mean 'wheel'?"),
    ):
        with pytest.raises(SettingError) as caught:
            run(settings(folders, override, val="val"), tmp_path / "run")
        assert words in str(caught.value)
        assert not (tmp_path / "run").exists(), "said before anything is done"


def test_maps_of_another_run(folders: Path, tmp_path: Path) -> None:
    """Refined without their classifier: the classes are those of the run, not of the network that comes with advcam."""
    made = settings(folders, val="val")
    run(made, tmp_path / "maps", until="pseudo")
    refined = content(folders, train="train") | {"maps": str(tmp_path / "maps" / "localize")}
    del refined["train"]
    refined["evaluate"] = {"resamples": 2}
    again = parse_chain(refined, "refine")
    assert list(run(again, tmp_path / "refined")) == ["pseudo", "evaluate"]
    for part in ("masks", "boxes.json", "confidence.csv", "classes.json"):
        first, second = tmp_path / "maps" / "pseudo" / part, tmp_path / "refined" / "pseudo" / part
        if first.is_file():
            assert first.read_bytes() == second.read_bytes()
        else:
            assert files(first) == files(second)
    run(settings(folders, "localize.scales=[0.5]", val="val"), tmp_path / "maps", until="localize")
    with open_chain(again, tmp_path / "refined") as chain:
        assert {stage.state for stage in chain.plan()} == {"to be redone"}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: (run / "config.json").unlink(), "is no run of advcam localize: it has no config.json; name its"),
        (lambda run: (run / "config.json").write_text("["), "config.json is damaged ("),
        (lambda run: (run / "classes.json").unlink(), "classes.json is missing or damaged ("),
        (lambda run: (run / "classes.json").write_text("[{}, 3]"), "classes.json is missing or damaged ("),
    ],
)
def test_maps_of_a_run_that_is_damaged(folders: Path, tmp_path: Path, damage, words: str) -> None:
    run(settings(folders, val="val"), tmp_path / "maps", until="localize")
    damage(tmp_path / "maps" / "localize")
    refined = content(folders) | {"maps": str(tmp_path / "maps" / "localize")}
    del refined["train"]
    with pytest.raises(RunError) as caught:
        run(parse_chain(refined, "refine"), tmp_path / "refined")
    assert words in str(caught.value)
    assert not (tmp_path / "refined").exists()


def test_drawn_pictures_are_drawn_once(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "data"
    made = settings(root, val="val", generated={"layout": "folders", "pictures": 12})
    run(made, tmp_path / "run", until="train")
    assert [path.name for path in root.parent.iterdir()] == ["data"], "nothing is left beside it"
    before = files(root)
    assert run(made, tmp_path / "run", until="train") == {"train": "done"}
    assert files(root) == before


def test_pictures_that_cannot_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    made = settings(tmp_path / "file" / "data", generated={"layout": "folders"})
    with pytest.raises(RunError, match=r"cannot draw the pictures of .*/file/data \(.*\); choose another data.root"):
        run(made, tmp_path / "run")
    made = settings(tmp_path / "data", generated={"layout": "foldres"})
    with pytest.raises(SettingError, match="did you mean 'folders'"):
        run(made, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_held_out_pictures() -> None:
    """A class of two pictures keeps them; the others give a fifth, the same ones each time."""
    samples = [Sample(f"{n}", Path(f"{n}.jpg"), ("cat",) if n < 2 else ("dog",)) for n in range(20)]
    kept, held = hold_out(samples, 0.2)
    assert len(held) == 4
    assert all(sample.labels == ("dog",) for sample in held)
    assert sorted(int(s.id) for s in (*kept, *held)) == list(range(20))
    assert hold_out(samples, 0.2) == (kept, held)
    unlabelled = [*samples, Sample("none", Path("none.jpg"), None), Sample("empty", Path("empty.jpg"), ())]
    parts = hold_out(unlabelled, 0.5)
    assert "none" not in {sample.id for part in parts for sample in part}
    assert "empty" in {sample.id for part in parts for sample in part}
    assert hold_out(samples[:4], 0.9) == (samples[:4], [])


def test_a_limit_of_pictures(folders: Path, tmp_path: Path) -> None:
    made = settings(folders, val="val", limit=3)
    run(made, tmp_path, until="pseudo")
    pictures = read_pictures(made.data)
    assert len(pictures.masks) == 3
    assert len(pictures.train) == 8, "all of them are learnt"
    check_labels(tmp_path, pictures.dataset, pictures.masks)


def test_splits_that_are_left_away(folders: Path, tmp_path: Path) -> None:
    """The usual ones, or the only one; val only where it is not learnt itself."""
    write_class_folders(tmp_path / "flat", 12, splits=False)
    flat, usual = (Chain(settings(root), tmp_path / "run") for root in (tmp_path / "flat", folders))
    assert (flat.settings.data.train, flat.settings.data.val, flat.settings.data.masks_split) == ("all", None, "all")
    assert (usual.settings.data.train, usual.settings.data.val) == ("train", "val")
    assert Chain(settings(folders, train="val"), tmp_path / "run").settings.data.val is None
    write_dataset("pets", tmp_path / "pets", 4)
    with pytest.raises(SettingError, match=r"which split\? .*pets has trainval, test, all; name one with --split"):
        Chain(settings(tmp_path / "pets"), tmp_path / "run")


def test_splits_that_are_not_there(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", 8)
    with pytest.raises(SettingError, match="has no split 'train2017'"):
        Chain(settings(tmp_path / "coco", train="train2017"), tmp_path / "run")
