"""The stages of the segmentation network: from masks of every kind to masks of other pictures, killed and changed."""

import csv
import json
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chains import Heard, content, files, records, run, settings
from safetensors.numpy import load_file

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import RunError, SettingError
from advcam.pipeline.chain import masking, segment_stages, segmenting
from advcam.pipeline.chain.lesson import lesson
from advcam.pipeline.chain.recipe_file import change, parse_chain, read_chain, write_recipe
from advcam.pipeline.chain.run import open_chain
from advcam.pipeline.chain.settings import ChainSettings, SegmentSettings
from advcam.pipeline.chain.stage import PASS_PIXELS
from advcam.pipeline.shards import LocalEngine
from advcam.segment.inference import predict
from advcam.segment.trained import load_segmenter
from advcam.store.corrections import Corrections
from advcam.store.masks import read_mask, write_mask

STAGES = ("segment", "predict", "evaluate-segment")
NAMES = ("ellipse", "rectangle", "triangle", "wheel")
NETWORK = {
    "network": {"head": "linear", "model": "test_resnet", "weights": "random"},
    "objective": {"frozen_statistics": False},
    "crop": 64,
    "epochs": 1,
    "batch_size": 4,
    "precision": "float32",
    "inference": {"flip": False, "precision": "float32"},
}
#: CCT with one decoder.
CCT = "segment.semi={method: cct, cct: {vat: 0, dropout: 1, cutout: 0, context_masking: 0, object_masking: 0, "
CCT += "feature_drop: 0, feature_noise: 0, upscale: 1}}"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures in train and four in val, of four classes, with true masks."""
    folder = tmp_path_factory.mktemp("data") / "folders"
    write_dataset("folders", folder, 12)
    return folder


@pytest.fixture(scope="module")
def masks(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks in PNG files, of train alone."""
    return Path(shutil.copytree(root / "masks" / "train", tmp_path_factory.mktemp("masks") / "mine" / "train")).parent


@pytest.fixture(scope="module")
def finished(root: Path, masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a round of self-training, to be looked at and copied."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert run(toy(root, masks), out) == dict.fromkeys(STAGES, "to do")
    return out


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """A finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def own(masks: Path, tmp_path: Path) -> Path:
    """A copy of the masks that may be changed."""
    return Path(shutil.copytree(masks, tmp_path / "own"))


def toy(root: Path, label_masks: Path | str | None, *overrides: str, rounds: int = 1, **data: object) -> ChainSettings:
    """The toy recipe with a segmentation network."""
    made = content(root, **data)
    made |= {"segment": {**deepcopy(NETWORK), "self_training": rounds}, "label_masks": label_masks}
    if label_masks is not None:
        del made["train"]
    change(made, overrides)
    return parse_chain(made, "toy.yaml")


def plan(made: ChainSettings, out: Path) -> dict[str, str]:
    with open_chain(made, out) as chain:
        return {stage.name: stage.state for stage in chain.plan()}


def weights(out: Path) -> dict[str, np.ndarray]:
    return load_file(out / "segmenter" / "best.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all((first[name] == second[name]).all() for name in first)


def test_masks_become_a_network_and_masks_of_other_pictures(root: Path, masks: Path, finished: Path) -> None:
    written = files(finished / "predictions" / "masks")
    assert len(written) == 4
    for sample in open_dataset(root).samples("val"):
        mask = read_mask((finished / "predictions" / "masks" / sample.id).with_suffix(".png"))
        assert mask.shape == open_dataset(root).mask(sample.id).shape
        assert set(np.unique(mask)) <= set(range(5))
    entries = json.loads((finished / "predictions" / "classes.json").read_text())
    assert [e["name"] for e in entries if "class_id" in e] == list(NAMES)
    made = records(toy(root, masks), finished)
    assert list(made) == list(STAGES)
    facts = dict(made["segment"].facts)
    assert facts["network"] == "linear on test_resnet, 4 classes"
    assert facts["learnt from"] == "masks of mine (8)"
    assert facts["self-training"] == "1 round"
    assert dict(made["predict"].facts) == {"masks": "4", "possible": "all classes"}
    evaluation = json.loads((finished / "metrics-test" / "segment" / "evaluation.json").read_text())
    assert (evaluation["split"], evaluation["pictures"]) == ("val", 4)
    assert load_segmenter(finished).class_names == NAMES
    report = (finished / "report.html").read_text()
    assert "evaluate-segment" in report


def test_self_training_learns_what_the_first_network_said(root: Path, finished: Path) -> None:
    """Only classes of the image labels, undecided where it was not sure."""
    first, dataset = load_segmenter(finished / "segmenter" / "round-1"), open_dataset(root)
    inference = SegmentSettings(**NETWORK).inference
    for sample in dataset.samples("train"):
        found = read_mask((finished / "segmenter" / "round-1" / "masks" / sample.id).with_suffix(".png"))
        picture = np.asarray(segmenting.read_picture(sample.path))
        number = NAMES.index(sample.labels[0]) + 1
        said = predict(first.network, picture, inference, [number])
        assert (found == np.where(said.confidence < 0.5, 255, said.mask)).all()
        assert set(np.unique(found)) <= {0, number, 255}


def test_what_is_done_is_left_alone(root: Path, masks: Path, done: Path) -> None:
    before = {name: data for name, data in files(done).items() if name != "report.html"}
    assert run(toy(root, masks), done) == dict.fromkeys(STAGES, "done")
    assert {name: data for name, data in files(done).items() if name != "report.html"} == before


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("segment.lr=0.002", 0),
        ("segment.network.head=deeplabv2", 0),
        ("segment.objective.average=0.9", 0),
        ("segment.self_training=0", 0),
        ("segment.self_confidence=0.6", 0),
        ("segment.validation=val", 0),
        ("segment.inference.flip=true", 0),
        ("data.test=train", 1),
        ("evaluate.resamples=3", 2),
        ("segment.workers=1", 3),
        ("segment.accumulate=2", 3),
        ("outputs.report_pictures=3", 3),
    ],
)
def test_a_changed_setting_redoes_its_stage_and_all_behind(
    root: Path, masks: Path, done: Path, override: str, first: int
) -> None:
    states = ["done"] * first + ["to be redone"] * (3 - first)
    assert plan(toy(root, masks, override), done) == dict(zip(STAGES, states, strict=True))


def test_how_pictures_are_looked_at_redoes_no_network_without_self_training(
    root: Path, masks: Path, tmp_path: Path
) -> None:
    run(toy(root, masks, rounds=0), tmp_path, until="segment")
    changed = toy(root, masks, "segment.inference.flip=true", rounds=0)
    assert run(changed, tmp_path) == {"segment": "done", "predict": "to do", "evaluate-segment": "to do"}


def test_other_masks_redo_the_network(root: Path, own: Path, tmp_path: Path) -> None:
    made, out = toy(root, own, rounds=0), tmp_path / "run"
    run(made, out, until="segment")
    assert plan(made, out)["segment"] == "done"
    path = own / "train" / "wheel" / "7.png"
    write_mask(path, np.flipud(read_mask(path)))
    assert plan(made, out)["segment"] == "to be redone"
    run(made, out, until="segment")
    names = ["triangle", "rectangle", "ellipse", "wheel"]
    entries = [{"number": n, "class_id": n - 1, "name": name} for n, name in enumerate(names, 1)]
    (own.parent / "classes.json").write_text(json.dumps(entries))
    assert plan(made, out)["segment"] == "to be redone", "numbers that mean other classes"


def test_what_people_correct_redoes_the_network_and_is_learnt(
    root: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A corrected mask and a rejected picture, not an accepted one; the corrected one outlives self-training."""
    out, made = tmp_path / "run", toy(root, own)
    run(made, out)
    first, second, third = list(open_dataset(root).samples("train"))[:3]
    corrections = Corrections(own)
    corrections.set_status(third.id, "accepted", 0)
    assert plan(made, out) == dict.fromkeys(STAGES, "done")
    drawn = np.full(read_mask((own / first.id).with_suffix(".png")).shape, 2, np.int32)
    corrections.save_mask(first.id, first.id.removesuffix(".png"), drawn, 0)
    corrections.set_status(second.id, "rejected", 0)
    assert plan(made, out) == dict.fromkeys(STAGES, "to be redone")
    taught, train = [], segmenting.train_segmenter
    monkeypatch.setattr(
        segmenting,
        "train_segmenter",
        lambda masked, *rest, **more: taught.append(masked) or train(masked, *rest, **more),
    )
    run(made, out)
    assert len(taught) == 2, "a round, and the network"
    for masked in taught:
        assert second.id not in {sample.id for sample in masked.samples}
        assert (masked.mask_of(first) == drawn).all()
    facts = dict(records(made, out)["segment"].facts)
    assert facts["learnt from"] == "masks of own (7, 1 of them corrected by hand)"


def test_numbers_of_a_run_are_classes_by_name(root: Path, masks: Path, tmp_path: Path) -> None:
    """The same masks in other numbers: the same network, bit for bit."""
    order = [3, 1, 4, 2]
    table = np.array([0, *order, *range(5, 255), 255])
    for path in masks.rglob("*.png"):
        write_mask(tmp_path / "pseudo" / "masks" / path.relative_to(masks), table[read_mask(path)])
    entries = [{"number": order[n], "class_id": n, "name": name} for n, name in enumerate(NAMES)]
    special = [{"number": 0, "name": "background"}, {"number": 255, "name": "ignore"}]
    (tmp_path / "pseudo" / "classes.json").write_text(json.dumps([*special, *entries]))
    for label_masks, out in ((masks, "plain"), (tmp_path / "pseudo", "numbered"), ("true", "true")):
        run(toy(root, label_masks, rounds=0), tmp_path / out, until="segment")
        made = records(toy(root, label_masks, rounds=0), tmp_path / out)
        words = {"plain": "masks of mine (8)", "numbered": "masks of pseudo (8)", "true": "8 true masks"}
        assert dict(made["segment"].facts)["learnt from"] == words[out]
    assert same(tmp_path / "plain", tmp_path / "numbered")
    assert same(tmp_path / "plain", tmp_path / "true")


def test_pictures_that_were_learnt_show_the_classes_of_their_labels(root: Path, masks: Path, done: Path) -> None:
    made = toy(root, masks, test="train")
    assert run(made, done) == {"segment": "done", "predict": "to be redone", "evaluate-segment": "to be redone"}
    assert dict(records(made, done)["predict"].facts)["possible"] == "classes of each picture's image labels"
    for sample in open_dataset(root).samples("train"):
        mask = read_mask((done / "predictions" / "masks" / sample.id).with_suffix(".png"))
        assert set(np.unique(mask)) <= {0, NAMES.index(sample.labels[0]) + 1}
    evaluation = json.loads((done / "metrics-test" / "segment" / "evaluation.json").read_text())
    assert (evaluation["split"], evaluation["pictures"]) == ("train", 8)


class Killed(BaseException):
    """Stands for the end of the process."""


def killed_after(count: int, patch: pytest.MonkeyPatch, made: ChainSettings, out: Path) -> None:
    """A run that ends while it writes a mask."""
    written: list[Path] = []

    def write(path: Path, mask: np.ndarray) -> None:
        if len(written) == count:
            raise Killed
        written.append(path)
        write_mask(path, mask)

    patch.setattr(masking, "write_mask", write)
    with pytest.raises(Killed):
        run(made, out)
    patch.undo()


@pytest.mark.parametrize(("count", "stage"), [(3, "segment"), (10, "predict")])
def test_a_killed_run_goes_on(
    root: Path, masks: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, stage: str
) -> None:
    """In the middle of labelling anew, and of predicting: what is there is not done again, and the end is the same."""
    out = tmp_path / "run"
    killed_after(count, monkeypatch, toy(root, masks), out)
    assert plan(toy(root, masks), out)[stage] == "to be finished"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("masks/**/*.png")}
    assert len(before) == count
    states = run(toy(root, masks), out)
    assert states[stage] == "to be finished"
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert same(out, finished)
    assert files(out / "predictions") == files(finished / "predictions")
    assert files(out / "segmenter" / "round-1" / "masks") == files(finished / "segmenter" / "round-1" / "masks")


def test_from_and_until(root: Path, masks: Path, done: Path) -> None:
    made = toy(root, masks)
    assert run(made, done, from_="predict", until="predict") == {"predict": "to be redone"}
    assert run(made, done, from_="evaluate") == {"evaluate-segment": "to be redone"}
    assert run(made, done, until="segment") == {"segment": "done"}
    with pytest.raises(SettingError, match="the stages of this recipe are segment, predict, evaluate-segment"):
        run(made, done, from_="train")


def test_the_whole_chain(root: Path, tmp_path: Path) -> None:
    """From image labels to masks of other pictures; until "evaluate" nothing of the network is done."""
    made, out = toy(root, None, rounds=0), tmp_path / "run"
    first = run(made, out, until="evaluate")
    assert list(first) == ["train", "localize", "pseudo", "evaluate"]
    assert run(made, out) == dict.fromkeys(first, "done") | dict.fromkeys(STAGES, "to do")
    assert dict(records(made, out)["segment"].facts)["learnt from"] == "masks of pseudo (8)"
    before = files(out / "metrics-test")
    assert run(made, out, from_="evaluate", until="evaluate") == {"evaluate": "to be redone"}
    assert files(out / "metrics-test") == before, "scores of other masks stay"
    other = toy(root, None, "pseudo.threshold=0.4", rounds=0)
    redone = {name for name, state in plan(other, out).items() if state == "to be redone"}
    assert redone == {"pseudo", "evaluate", *STAGES}


@pytest.mark.parametrize("strong", ["2", "1/4", "strong.txt"])
def test_few_true_masks_and_many_others(
    root: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strong: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("strong.txt").write_text("train/wheel/7.jpg\ntrain/ellipse/4.jpg\n")
    method = CCT if strong == "2" else "segment.semi={method: unimatch}"
    made = toy(root, masks, f"segment.strong='{strong}'", method, rounds=0)
    run(made, tmp_path / "run", until="segment")
    facts = dict(records(made, tmp_path / "run")["segment"].facts)
    name = "cct" if strong == "2" else "unimatch"
    assert facts["learnt from"] == f"2 true masks, and masks of mine (6), {name}"
    if strong == "strong.txt":
        Path("strong.txt").write_text("train/wheel/7.jpg\ntrain/ellipse/8.jpg\n")
        assert plan(made, tmp_path / "run")["segment"] == "to be redone"


def test_a_picture_that_cannot_be_read_is_named_whatever_the_rounds(root: Path, masks: Path, tmp_path: Path) -> None:
    """It is in no round learnt; nor does it stop one."""
    own = Path(shutil.copytree(root, tmp_path / "data"))
    for name in ("train/wheel/7.jpg", "val/wheel/3.jpg"):
        (own / name).write_bytes((own / name).read_bytes()[:-300])
    made = toy(own, masks)
    run(made, tmp_path / "run")
    found = records(made, tmp_path / "run")
    assert [id_ for id_, _ in found["segment"].skipped] == ["train/wheel/7.jpg"]
    assert [id_ for id_, _ in found["predict"].skipped] == ["val/wheel/3.jpg"]
    assert dict(found["predict"].facts)["masks"] == "3"


def test_a_label_without_a_class_allows_nothing(root: Path, finished: Path, tmp_path: Path) -> None:
    sample = replace(next(iter(open_dataset(root).samples("train"))), labels=("unicorn",))
    chosen = SegmentSettings(**NETWORK)
    segmenting.predict_all(finished, "cpu", [sample], chosen, True, tmp_path, Heard(), LocalEngine())
    assert not read_mask((tmp_path / "masks" / sample.id).with_suffix(".png")).any()


def test_weights_by_confidence(root: Path, own: Path) -> None:
    """The lowest of a picture's classes, as a multiple of the mean; 1 where the file has no row."""
    dataset = open_dataset(root)
    samples = list(dataset.samples("train"))[:3]
    chosen = SegmentSettings(**NETWORK, confidence_weights=True)
    path = own / "confidence.csv"
    with pytest.raises(SettingError) as missing:
        lesson(chosen, dataset, samples, own, NAMES)
    assert str(missing.value) == (
        f"confidence_weights needs {path}, which advcam run and advcam refine write beside masks"
    )
    with path.open("w", newline="") as file:
        rows = [
            (samples[0].id, "ellipse", 0.8, 5),
            (samples[0].id, "wheel", 0.2, 5),
            (samples[1].id, "ellipse", 0.6, 5),
        ]
        csv.writer(file).writerows([("image", "class", "confidence", "pixels"), *rows])
    taught = lesson(chosen, dataset, samples, own, NAMES)
    expected = {s.id: sure / 0.6 for s, sure in zip(samples, (0.2, 0.6, 1.0), strict=True)}
    assert taught.masked.weights == pytest.approx(expected)
    for damaged in (b"image,class\na,b\n", b"image,class,confidence\na,b,much\n", b"\xff\xfe\x00"):
        path.write_bytes(damaged)
        if damaged.startswith(b"image"):
            with pytest.raises(RunError, match=r"confidence\.csv is damaged"):
                lesson(chosen, dataset, samples, own, NAMES)


def test_the_plan_says_what_it_costs(root: Path, masks: Path, tmp_path: Path) -> None:
    def passes(*overrides: str, rounds: int = 0) -> dict[str, float]:
        with open_chain(toy(root, masks, "segment.epochs=5", *overrides, rounds=rounds), tmp_path) as chain:
            planned = chain.plan()
        assert [stage.pictures for stage in planned] == [8, 4, 4]
        return {stage.name: stage.passes for stage in planned}

    training, looking = 3 * 5 * 8 * 64**2 / PASS_PIXELS, 4 * 80 * 96 / PASS_PIXELS
    assert passes() == pytest.approx({"segment": training, "predict": looking, "evaluate-segment": 0})
    assert passes(rounds=2)["segment"] == pytest.approx(3 * training)
    semi = ("segment.strong='2'", "segment.semi={method: unimatch}")
    assert passes(*semi)["segment"] == pytest.approx(4 * training)
    looks = passes("segment.inference={flip: true, scales: [0.5, 1]}")["predict"]
    assert looks == pytest.approx(4 * looking)
    with open_chain(toy(root, masks), tmp_path) as chain:
        assert chain._timed.model == "test_resnet", "not the classifier, of which there is none"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["label_masks=absent"],
            "absent holds no masks; name a folder of PNG files, the folder pseudo of a run, or true",
        ),
        (["segment.validation=dev"], "has no split 'dev'; its splits are: train, val"),
        (["data.test=dev"], "has no split 'dev'; its splits are: train, val"),
        (["segment=null"], "label_masks are what a segmentation network learns: add segment, or leave them out"),
        (["label_masks=true", "segment.self_training=1"], "are for pseudo-labels, and label_masks are the true masks"),
        (["segment.strong='2'"], "semi-supervised training needs both: strong (which true masks) and semi"),
        (["segment.strong='2'", CCT, "segment.self_training=1"], "self_training and confidence_weights are for pseudo"),
        (
            ["segment.strong='2'", "segment.semi={}", "segment.objective.multi_scale=true"],
            "UniMatch sees each picture at one scale; switch objective.multi_scale off",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    root: Path, masks: Path, tmp_path: Path, overrides: list[str], words: str
) -> None:
    with pytest.raises(SettingError) as caught:
        run(toy(root, masks, *overrides, rounds=0), tmp_path / "run")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["segment.strong=1.0", "segment.semi={}"], "segment.strong=1.0 leaves no weak picture; name fewer"),
        (["segment.strong='9'", "segment.semi={}"], "9 strong pictures wanted"),
        (["segment.strong=few", "segment.semi={}"], "strong pictures are a number"),
        (["data.masks=val"], "holds no mask of these 4 pictures; a mask is a PNG named as its picture"),
    ],
)
def test_what_does_not_fit_the_pictures(
    root: Path, masks: Path, tmp_path: Path, overrides: list[str], words: str
) -> None:
    overrides = [o.replace("strong=1.0", "strong='1.0'") for o in overrides]
    with pytest.raises(SettingError) as caught:
        run(toy(root, masks, *overrides, rounds=0), tmp_path / "run")
    assert words in str(caught.value)
    assert not (tmp_path / "run" / "segmenter" / "segmenter.json").exists()


def test_true_masks_need_the_classes_of_the_data_set(root: Path, masks: Path, tmp_path: Path) -> None:
    """A classifier that is given may know others, in another order."""
    made = toy(root, None, rounds=0)
    chosen = SegmentSettings(**NETWORK, validation="val")
    with pytest.raises(SettingError, match="and the classifier has others; train one"):
        segment_stages._check_classes(chosen, ("wheel", "ellipse"), open_dataset(root))
    segment_stages._check_classes(SegmentSettings(**NETWORK), ("wheel", "ellipse"), open_dataset(root))
    assert made.segment is not None


@pytest.mark.parametrize(
    "overrides",
    [
        ["segment=null"],
        ["segment.inference.max_side=null"],
        ["segment.validation=val", "segment.network.output_stride=8"],
        ["segment.strong=1/32", "segment.semi={method: cct, cct: {vat: 1}}"],
        ["segment.strong='60'", "segment.semi={}"],
        ["train=null", "label_masks=true"],
        ["train=null", "label_masks=masks of mine"],
        ["train=null", "label_masks='true'", "segment.semi=null"],
    ],
)
def test_a_recipe_that_is_kept_says_the_same(root: Path, tmp_path: Path, overrides: list[str]) -> None:
    made = toy(root, None, *overrides, rounds=0)
    write_recipe(tmp_path / "recipe.yaml", made)
    assert read_chain(str(tmp_path / "recipe.yaml")) == made
    again = read_chain(str(tmp_path / "recipe.yaml"))
    assert again.label_masks == made.label_masks
    assert type(again.label_masks) is type(made.label_masks)


def test_a_recipe_without_a_network_has_its_stages_alone(root: Path, tmp_path: Path) -> None:
    assert list(plan(settings(root), tmp_path)) == ["train", "localize", "pseudo", "evaluate"]
