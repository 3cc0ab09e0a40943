"""`advcam evaluate` as users meet it: four kinds of predictions, four protocols, and what chose each threshold."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluated import SCORED, error_line, evaluate, write_all
from PIL import Image
from torch import Tensor, nn

from advcam import Classifier
from advcam.cli.app import run
from advcam.datasets.catalogue import open_dataset
from advcam.types import IGNORE

WHERE = {"run": "maps", "maps": "maps", "masks": "masks", "results.json": "boxes"}
PROTOCOLS = {
    "segmentation": ("run", "maps", "masks"),
    "localization": tuple(WHERE),
    "pxap": ("run", "maps", "masks"),
    "faithfulness": ("run", "maps"),
}
CASES = [(protocol, name) for protocol, names in PROTOCOLS.items() for name in names]
CHOSEN = ["oracle", "fixed", "label-free"]
FIGURES = {
    "segmentation": {"maps": {"curves", "classes", "pictures"}, "masks": {"classes", "pictures"}},
    "localization": {"maps": {"curves", "pictures"}, "masks": {"pictures"}, "boxes": {"pictures"}},
    "pxap": {"maps": {"curves"}, "masks": {"curves"}},
    "faithfulness": {"maps": {"faithfulness"}},
}


class Toy(nn.Module):
    """Two convolutions, global average pooling, a linear head over the four birds."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def toy() -> Classifier:
    names = ("Black_footed_Albatross", "Laysan_Albatross", "Sooty_Albatross", "Groove_billed_Ani")
    return Classifier.from_module(Toy(), class_names=names, name="toy")


@pytest.fixture(autouse=True)
def toy_in_place(toy: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network in place of the catalogue's."""
    for room in ("localize", "evaluation.scoring"):
        monkeypatch.setattr(f"advcam.pipeline.{room}.load_classifier", lambda *_, **__: toy)


@pytest.fixture
def drawn_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than scoring; one test draws for real."""
    monkeypatch.setattr("advcam.pipeline.evaluation.figures.render", lambda figure, kind: kind.encode())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("template"))


@pytest.fixture
def made(template: Path, tmp_path: Path) -> Path:
    """Data and predictions that a test may damage."""
    return shutil.copytree(template, tmp_path / "made")


def result_of(made: Path, name: str, capsys: pytest.CaptureFixture[str], *more: str) -> dict:
    """What is printed as JSON, and nothing beside it."""
    capsys.readouterr()
    assert evaluate(made, name, "--json", *more) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def localize(made: Path) -> None:
    given = ["localize", "--data", str(made / "data"), "--split", "train", "--out", str(made / "run")]
    assert run([*given, "--method", "cam", "--scales", "1", "--quiet"]) == 0


def ours(result: dict) -> dict[str, dict[str, float]]:
    """Scores of the predictions by what chose their threshold."""
    return {row["supervision"]: row["scores"] for row in result["rows"] if row["name"] == "predictions"}


@pytest.mark.parametrize(("protocol", "name"), CASES)
def test_every_kind_of_prediction_under_every_protocol_that_takes_it(
    made: Path, capsys: pytest.CaptureFixture[str], drawn_quickly: None, protocol: str, name: str
):
    kind, out = WHERE[name], made / "out"
    if name == "run":
        localize(made)
    model = ["--model", "toy"] if protocol == "faithfulness" else []
    result = result_of(made, name, capsys, "--protocol", protocol, "--out", str(out), *model)
    assert result == json.loads((out / "evaluation.json").read_text())
    assert (result["task"], result["pictures"], result["layout"]) == (protocol, SCORED, "cub200")
    assert result["predictions"] == f"{made / name} ({kind})"
    drawn = {f"{figure}.{end}" for figure in FIGURES[protocol][kind] for end in ("png", "pdf")}
    assert {path.name for path in out.iterdir()} == drawn | {"evaluation.json"}
    chosen = CHOSEN if kind == "maps" else ["oracle"] if kind == "masks" and protocol == "localization" else ["none"]
    assert list(ours(result)) == (chosen if protocol in ("segmentation", "localization") else ["none"])
    for row in result["rows"]:
        assert (row["threshold"] is None) == (row["supervision"] == "none")
        assert row["detail"]
        assert all(0 <= score <= 1 for score in row["scores"].values())
    assert result["headline"] in result["rows"][0]["scores"]


def test_figures_open_as_pictures_and_the_table_names_what_chose_each_threshold(
    made: Path, capsys: pytest.CaptureFixture[str]
):
    out = made / "out"
    assert evaluate(made, "maps", "--labelled", "2", "--out", str(out)) == 0
    captured = capsys.readouterr()
    assert captured.err == f"figures and evaluation.json in {out}\n"
    assert captured.out.startswith("segmentation on CUB-200-2011, split train: 6 pictures\n")
    rows = json.loads((out / "evaluation.json").read_text())["rows"]
    for row in rows:
        score = f"{100 * row['scores']['miou']:.1f}"
        words = [row["name"], f"{row['supervision']} {row['threshold']:.3g}", score]
        assert any(all(word in line for word in words) for line in captured.out.splitlines())
        assert f"  {row['supervision']}: {row['detail']}\n" in captured.out
    assert {row["supervision"] for row in rows} == {*CHOSEN, "validated"}
    for figure in FIGURES["segmentation"]["maps"]:
        with Image.open(out / f"{figure}.png") as picture:
            assert picture.convert("L").getextrema()[0] < 128, "something is drawn"
        assert (out / f"{figure}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("protocol", ["segmentation", "localization"])
def test_no_other_choice_beats_the_oracle(made: Path, capsys: pytest.CaptureFixture[str], protocol: str):
    result = result_of(made, "maps", capsys, "--protocol", protocol, "--labelled", "2", "--threshold", "0.15")
    scores = ours(result)
    assert set(scores) == {*CHOSEN, "validated"}
    headlines = {supervision: one[result["headline"]] for supervision, one in scores.items()}
    assert headlines["oracle"] == max(headlines.values()) > headlines["fixed"]
    rows = {row["supervision"]: row for row in result["rows"] if row["name"] == "predictions"}
    assert rows["fixed"]["threshold"] == pytest.approx(0.15, abs=0.0005)  # one of the 1000 of the protocol for boxes
    assert "2 labelled pictures, none of them evaluated" in rows["validated"]["detail"]


def miou(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean IoU of truth and prediction, pixels pooled, over the classes that either holds; 255 is not scored."""
    truth, found = (np.concatenate([one[t != IGNORE] for t, one in ((p[0], p[k]) for p in pairs)]) for k in (0, 1))
    classes = np.union1d(truth, found)
    return float(np.mean([((truth == c) & (found == c)).sum() / ((truth == c) | (found == c)).sum() for c in classes]))


def test_segmentation_is_what_the_definition_says(made: Path, capsys: pytest.CaptureFixture[str]):
    dataset, masks, seeds = open_dataset(made / "data"), [], []
    for sample in dataset.samples("train"):
        truth, number = dataset.mask(sample.id), dataset.class_id(sample.labels[0]) + 1
        one = np.load(made / "maps" / f"{sample.id.removesuffix('.jpg')}.npy")
        seeds.append((truth, np.where(one > 0.25, number, 0)))
        masks.append((truth, np.array(Image.open(made / "masks" / f"{sample.id}.png"))))
    result = result_of(made, "maps", capsys, "--threshold", "0.25")
    assert ours(result)["fixed"]["miou"] == pytest.approx(miou(seeds), abs=1e-6)
    assert np.mean([row["iou"] for row in result["classes"]]) == pytest.approx(miou(seeds), abs=1e-6)
    assert ours(result_of(made, "masks", capsys))["none"]["miou"] == pytest.approx(miou(masks))


def test_boxes_hit_or_miss(made: Path, capsys: pytest.CaptureFixture[str]):
    results = json.loads((made / "results.json").read_text())
    for entry in results[: SCORED // 4]:
        entry["category_id"] = entry["category_id"] % 4 + 1  # another bird
    (made / "results.json").write_text(json.dumps(results))
    top = "".join(f"{entry['image_id']},{'Sooty_Albatross'}\n" for entry in results)
    (made / "top.csv").write_text(f"image,labels\n{top}")
    result = result_of(made, "results.json", capsys, "--top-classes", str(made / "top.csv"))
    assert result["task"] == "localization", "boxes cannot be scored as masks"
    assert ours(result)["none"]["gt_known"] == 0.75
    wrong = {entry["image_id"] for entry in results[: SCORED // 4]}
    assert result["picture_scores"] == {entry["image_id"]: float(entry["image_id"] not in wrong) for entry in results}
    sooty = {entry["image_id"] for entry in results if "Sooty" in entry["image_id"]}
    assert ours(result)["none"]["top1_loc"] == len(sooty - wrong) / SCORED > 0


def test_the_classifier_named_ranks_the_classes(made: Path, toy: Classifier, capsys: pytest.CaptureFixture[str]):
    result = result_of(made, "results.json", capsys, "--model", "toy")
    right = [
        toy.predict(Image.open(sample.path), 1)[0].class_name == sample.labels[0]
        for sample in open_dataset(made / "data").samples("train")
    ]
    assert f"the classifier's own accuracy on these pictures: top-1 {np.mean(right):.1%}" in " ".join(result["notes"])


def test_labelled_pictures_are_left_out_and_the_seed_draws_them(made: Path, capsys: pytest.CaptureFixture[str]):
    every = {sample.id for sample in open_dataset(made / "data").samples("train")}
    scored = {}
    for seed in ("0", "1", "2"):
        result = result_of(made, "maps", capsys, "--labelled", "3", "--seed", seed)
        scored[seed] = set(result["picture_scores"])
        assert result["pictures"] == len(scored[seed]) == SCORED - 3
        assert scored[seed] < every
        assert result == result_of(made, "maps", capsys, "--labelled", "3", "--seed", seed)
    assert len(set(map(frozenset, scored.values()))) > 1


def test_a_subset_is_refused_or_scored_as_the_intersection(made: Path, capsys: pytest.CaptureFixture[str]):
    gone, *_ = sorted((made / "maps").rglob("*.npy"))
    gone.unlink()
    id_ = f"{gone.parent.name}/{gone.stem}.jpg"
    assert evaluate(made, "maps", "--out", str(made / "out")) == 2
    assert f"1 of {SCORED} pictures are not predicted (first: {id_}); predict them, or" in error_line(capsys)
    assert not (made / "out").exists()
    result = result_of(made, "maps", capsys, "--missing", "intersection")
    assert result["pictures"] == SCORED - 1
    assert id_ not in result["picture_scores"]
    assert f"1 of {SCORED} pictures of the split are not predicted and left out: {id_}" in result["notes"]


def test_a_part_of_a_run_is_refused_and_the_run_itself_is_named(
    made: Path, capsys: pytest.CaptureFixture[str], drawn_quickly: None
):
    localize(made)
    capsys.readouterr()
    assert evaluate(made, "run/masks") == 2
    assert f"is part of a run of advcam; name the run itself, {made / 'run'}" in error_line(capsys)
    assert evaluate(made, "run", "--out", str(made / "run" / "evaluation"), "--quiet") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert (made / "run" / "evaluation" / "evaluation.json").exists()
