"""A chain whose threshold is chosen on a labelled split: maps of its own, one threshold for everything, Top-k Loc."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chains import content, records, run, settings

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.pictures import read_picture
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.synthetic.wsol import write_wsol
from advcam.errors import SettingError
from advcam.pipeline.chain.pictures import read_pictures
from advcam.pipeline.chain.recipe_file import parse_chain
from advcam.pipeline.chain.run import Chain
from advcam.store.maps import MapStore
from advcam.training.augment import Normalisation, squeeze
from advcam.training.classifier import load_trained

SPLITS = {"train": "train", "val": "val", "masks": "test", "thresholds": "val"}
CHOSEN = ["threshold=null", "pseudo.threshold=null"]


def evaluation(out: Path, stage: str) -> dict[str, dict[str, Any]]:
    """Rows of the predictions of a stage by their supervision."""
    found = json.loads((out / "metrics" / stage / "evaluation.json").read_text())
    return {row["supervision"]: row for row in found["rows"] if row["name"] == "predictions"}


@pytest.fixture(scope="module")
def wsol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "wsol"
    write_wsol(root, 5)
    return root


@pytest.fixture(scope="module")
def done(wsol: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    climb = "localize={method: advcam, iterations: 1, scales: [1.0], precision: float32}"
    stages = run(settings(wsol, *CHOSEN, climb, **SPLITS), out)
    maps = ["localize", "localize-labelled", "baseline", "baseline-labelled"]
    assert list(stages) == ["train", *maps, "classify", "threshold", "pseudo", "evaluate"]
    return out


def test_the_labelled_split_has_maps_of_its_own(wsol: Path, done: Path) -> None:
    dataset = open_dataset(wsol)
    for stage, split in (("localize", "test"), ("localize-labelled", "val"), ("baseline-labelled", "val")):
        assert set(MapStore(done / stage / "maps").ids()) == set(dataset.ids(split))


def test_one_threshold_for_scores_and_masks(done: Path) -> None:
    kept = json.loads((done / "threshold" / "threshold.json").read_text())
    rows = evaluation(done, "localize")
    assert list(rows)[:3] == ["oracle", "validated", "fixed"]
    assert rows["validated"]["threshold"] == kept["threshold"]
    words = "best of 1000 thresholds on 5 labelled pictures, none of them evaluated (split val)"
    assert kept["supervision"] == f"validated: {words}"
    assert rows["validated"]["detail"].startswith(words)
    pseudo = json.loads((done / "stages" / "pseudo.json").read_text())
    assert ["threshold", f"{kept['threshold']:g}"] in pseudo["facts"]
    facts = dict(json.loads((done / "stages" / "evaluate.json").read_text())["facts"])
    assert f"(validated at {kept['threshold']:.2f})" in facts["localize"]
    assert facts["localize"].startswith("MaxBoxAccV2 / GT-known Loc / Top-1 Loc ")


def test_the_baseline_has_a_threshold_of_its_own(done: Path) -> None:
    detail = evaluation(done, "baseline")["validated"]["detail"]
    assert "on 5 labelled pictures, none of them evaluated (split val)" in detail
    assert "validated" not in evaluation(done, "pseudo")


def test_top_k_asks_the_classifier_as_its_training_did(wsol: Path, done: Path) -> None:
    """Predicted classes by hand; Top-1 Loc is a picture that is right in class and box."""
    dataset, classifier = open_dataset(wsol), load_trained(done / "classifier")
    normalise, right = Normalisation(classifier.mean, classifier.std), {}
    table = {
        row["image"]: row["labels"].split(";")
        for row in csv.DictReader((done / "predicted" / "top_classes.csv").open())
    }
    assert list(table) == list(dataset.ids("test"))
    for sample in dataset.samples("test"):
        with classifier.frozen():
            scores = classifier.respond(squeeze(read_picture(sample.path), 64, normalise)[None]).scores[0].tolist()
        assert [int(name) for name in table[sample.id]] == sorted(range(4), key=lambda k: -scores[k])
        right[sample.id] = table[sample.id][0] == sample.labels[0]
    found = json.loads((done / "metrics" / "localize" / "evaluation.json").read_text())
    hits = [hit and right[id_] for id_, hit in found["picture_scores"].items()]
    assert evaluation(done, "localize")["fixed"]["scores"]["top1_loc"] == pytest.approx(np.mean(hits))
    facts = dict(json.loads((done / "stages" / "classify.json").read_text())["facts"])
    assert facts["top-1 accuracy"] == f"{np.mean(list(right.values())):.1%} among 4 classes"


def test_the_report_has_every_score_and_the_boxes(done: Path) -> None:
    page = (done / "report.html").read_text()
    for words in (
        "MaxBoxAccV2 of ",
        "GT-known Loc of ",
        "Top-1 Loc of ",
        '<th scope="col" class="number">validated</th>',
    ):
        assert words in page
    assert "5 to learn, 5 to choose the epoch, 5 to choose the threshold, 5 to mask" in page
    assert page.count("<figcaption>boxes, the truth in white</figcaption>") == 2


def test_what_is_redone_without_the_labelled_split(wsol: Path, done: Path) -> None:
    climb = "localize={method: advcam, iterations: 1, scales: [1.0], precision: float32}"
    again = {s.name: s.state for s in Chain(settings(wsol, *CHOSEN, climb, **SPLITS), done).plan()}
    assert set(again.values()) == {"done"}
    without = {
        s.name: s.state for s in Chain(settings(wsol, *CHOSEN, climb, **(SPLITS | {"thresholds": None})), done).plan()
    }
    assert "localize-labelled" not in without
    assert [without[name] for name in ("train", "localize", "baseline", "classify")] == ["done"] * 4
    assert [without[name] for name in ("threshold", "pseudo", "evaluate")] == ["to be redone"] * 3


def test_masks_choose_where_masks_are_the_truth(tmp_path: Path) -> None:
    write_dataset("folders", tmp_path / "data", 12)
    made = settings(tmp_path / "data", *CHOSEN, "refine.methods=[affinity]", train="train", val="val", thresholds="val")
    stages = run(made, tmp_path / "run")
    assert list(stages) == [
        *("train", "localize", "localize-labelled", "threshold", "refine-affinity", "pseudo", "evaluate"),
    ]
    count = len(read_pictures(made.data).labelled)
    chosen = dict(records(made, tmp_path / "run")["threshold"].facts)["threshold"]
    assert f"validated: best of 101 thresholds on {count} labelled pictures" in chosen
    assert f"{evaluation(tmp_path / 'run', 'localize')['validated']['threshold']:g}, " in chosen
    assert "validated" not in evaluation(tmp_path / "run", "refine-affinity"), "only maps of the split are made"


@pytest.mark.parametrize(
    ("thresholds", "words"),
    [
        ("dev", "data.thresholds names 'dev', but the splits of "),
        ("dev", "or leave it away (data.thresholds=null): then no truth decides"),
        ("test", "pictures of data.thresholds=test are also scored; name a split without them, or leave it away"),
        ("train", "data.thresholds=train has neither masks nor boxes; name a split with some, or leave it away"),
    ],
)
def test_a_split_that_cannot_choose(wsol: Path, tmp_path: Path, thresholds: str, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        Chain(settings(wsol, **(SPLITS | {"thresholds": thresholds})), tmp_path / "run")
    assert words in str(caught.value)


def test_settings_that_do_not_go_together(wsol: Path) -> None:
    with pytest.raises(
        SettingError, match=r"chooses the threshold .data.thresholds. or some scored pictures, not both"
    ):
        settings(wsol, "evaluate.labelled=3", **SPLITS)
    refined = content(wsol, **SPLITS) | {"maps": "run"}
    del refined["train"]
    with pytest.raises(SettingError, match=r"data.thresholds needs maps of its own split: leave it out, or maps"):
        parse_chain(refined, "refine")


def test_nothing_is_learnt_where_nothing_is_trained(wsol: Path, tmp_path: Path) -> None:
    made = content(wsol, **SPLITS) | {"train": None}
    chain = Chain(parse_chain(made, "toy"), tmp_path / "run")
    assert (len(chain.pictures.train), len(chain.pictures.val), len(chain.pictures.labelled)) == (0, 0, 5)
