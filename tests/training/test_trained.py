import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import advcam
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.pictures import read_picture
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import LabelError, RunError, SettingError, WeightsError
from advcam.training import loop as loop_module
from advcam.training.classifier import ClassifierSettings, TrainedClassifier, load_trained, train_classifier
from advcam.types import Sample

TOY = {"model": "test_resnet", "weights": "random", "frozen_statistics": False, "crop": 48, "precision": "float32"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "folders"
    write_dataset("folders", root, 36)
    return root


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "table"
    write_dataset("table", root, 30)
    return root


def split(root: Path, name: str) -> list[Sample]:
    return list(open_dataset(root).samples(name))


def fit(root: Path, folder: Path, **settings: object) -> TrainedClassifier:
    chosen = ClassifierSettings(**(TOY | {"epochs": 2, "batch_size": 8} | settings))
    names = open_dataset(root).class_names
    return train_classifier(split(root, "train"), split(root, "val"), names, chosen, folder)


def test_shapes_are_learnt_from_scratch(folders: Path, tmp_path: Path) -> None:
    """24 pictures of four shapes in their colours."""
    trained = fit(folders, tmp_path, epochs=14, lr=0.01, optimizer="adamw", head_multiplier=1.0)
    assert trained.metrics["top_1"] >= 0.9
    assert trained.metrics["top_1"] == trained.training.best
    assert not trained.multi_label
    losses = [epoch["training_loss"] for epoch in trained.training.history]
    assert losses[-1] < 0.4 < losses[0]
    classifier = load_trained(tmp_path)
    assert classifier.class_names == ("ellipse", "rectangle", "triangle", "wheel")
    sample = split(folders, "val")[0]
    attribution = advcam.CAM(classifier)([read_picture(sample.path)], [list(sample.labels or ())])[0]
    assert attribution.class_names == sample.labels


def test_the_folder(folders: Path, tmp_path: Path) -> None:
    trained = fit(folders, tmp_path)
    files = ["best.safetensors", "classes.txt", "classifier.json", "last.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    facts = json.loads((tmp_path / "classifier.json").read_text())
    assert facts["model"] == "test_resnet"
    assert facts["multi_label"] is False
    assert facts["class_names"] == ["ellipse", "rectangle", "triangle", "wheel"]
    assert facts["metrics"] == dict(trained.metrics)
    assert set(facts["metrics"]) == {"training_loss", "loss", "top_1"}
    assert facts["settings"]["crop"] == 48
    assert len(facts["history"]) == 2
    loaded = load_trained(tmp_path)
    named = advcam.load_classifier(
        "test_resnet", weights=trained.weights, class_names=trained.classes, output_stride=None, multi_label=False
    )
    assert loaded.fingerprint() == named.fingerprint()
    best = load_file(trained.weights)
    assert all(torch.equal(value, best[name]) for name, value in loaded.module.state_dict().items())


def test_multi_label(table: Path, tmp_path: Path) -> None:
    trained = fit(table, tmp_path, output_stride=16, class_weights="balanced", augmentation="voc")
    assert trained.multi_label
    assert 0 < trained.metrics["mean_average_precision"] <= 1
    loaded = load_trained(tmp_path)
    assert loaded.multi_label
    facts = json.loads((tmp_path / "classifier.json").read_text())
    assert facts["output_stride"] == 16
    state = load_file(tmp_path / "last.safetensors")
    assert state["model.weights"].shape == (4,), "of the positive pictures"


def test_linear_probing_of_real_weights(folders: Path, tmp_path: Path) -> None:
    """The embedded ImageNet backbone stays as it is; four shapes are told apart by its features."""
    settings = {"model": "lite0", "weights": None, "frozen_statistics": True, "trained": "head", "crop": 64}
    trained = fit(folders, tmp_path, **settings, epochs=8)
    before, after = advcam.load_classifier("lite0").module.state_dict(), load_file(trained.weights)
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert trained.metrics["top_1"] >= 0.75
    assert trained.warnings == (), "a new head always starts at random"


def test_the_published_recipe_runs(table: Path, tmp_path: Path) -> None:
    """VOC: statistics stay, scales and shifts change, the stem is left alone."""
    first = advcam.load_classifier("test_resnet", weights="random", num_classes=1000).module
    save_file(first.state_dict(), tmp_path / "imagenet.safetensors")
    settings = ClassifierSettings(
        model="test_resnet",
        weights=tmp_path / "imagenet.safetensors",
        augmentation="voc",
        crop=64,
        optimizer="sgd-published",
        lr=0.05,
        drop_last=True,
        batch_size=8,
        epochs=1,
        output_stride=16,
        accumulate=2,
    )
    trained = train_classifier(split(table, "train"), [], open_dataset(table).class_names, settings, tmp_path / "run")
    before, after = first.state_dict(), load_file(trained.weights)
    same = {name for name in before if torch.equal(before[name], after[name])}
    statistics = {name for name in before if "running" in name or "num_batches" in name}
    stem = {name for name in before if name.startswith(("conv1.", "bn1."))}
    assert statistics | stem == same
    assert trained.training.best is None
    assert trained.training.best_epoch == 1, "without a validation the last weights are kept"


def test_a_killed_training_goes_on_bit_for_bit(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real pictures, real augmentation, batch statistics, worker processes; from before and behind the first state."""
    fit(folders, tmp_path / "through", optimizer="nesterov")
    expected = load_file(tmp_path / "through" / "last.safetensors")
    for steps in (1, 4):
        done: list[float] = []

        def check(loss: float, *_: object, done: list[float] = done, steps: int = steps) -> None:
            done.append(loss)
            if len(done) > steps:
                raise KeyboardInterrupt

        folder = tmp_path / f"killed{steps}"
        with monkeypatch.context() as patch:
            patch.setattr(loop_module, "check_loss", check)
            with pytest.raises(KeyboardInterrupt):
                fit(folders, folder, optimizer="nesterov", save_minutes=0)
        fit(folders, folder, optimizer="nesterov", save_minutes=0, workers=1)
        resumed = load_file(folder / "last.safetensors")
        assert expected.keys() == resumed.keys()
        assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_another_training_in_the_folder(folders: Path, tmp_path: Path) -> None:
    fit(folders, tmp_path, epochs=1)
    samples = [
        Sample(s.id, s.path, ("Dreieck" if s.labels == ("triangle",) else s.labels[0],))
        for s in split(folders, "train")
    ]
    names = ("ellipse", "rectangle", "Dreieck", "wheel")
    settings = ClassifierSettings(**TOY, epochs=1, batch_size=8, lr=0.5)
    with pytest.raises(RunError) as caught:
        train_classifier(samples, [], names, settings, tmp_path)
    assert str(caught.value).startswith(
        f'{tmp_path} holds a training with other settings: class_names.2 was "triangle", is now "Dreieck"; '
        "lr was 0.0003, is now 0.5; samples was "
    )


def test_unreadable_pictures_are_reported(folders: Path, tmp_path: Path) -> None:
    samples = [*split(folders, "train"), Sample("gone.jpg", tmp_path / "gone.jpg", ("wheel",))]
    held_out = [*split(folders, "val")[:3], Sample("lost.jpg", tmp_path / "lost.jpg", ("wheel",))]
    settings = ClassifierSettings(**TOY, epochs=1, workers=1)
    names = open_dataset(folders).class_names
    trained = train_classifier(samples, held_out, names, settings, tmp_path / "run")
    assert set(trained.unreadable) == {"gone.jpg", "lost.jpg"}
    assert "does not exist" in trained.unreadable["gone.jpg"]
    facts = json.loads((tmp_path / "run" / "classifier.json").read_text())
    assert facts["unreadable"] == dict(trained.unreadable)


def test_what_cannot_be_trained(folders: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="label_smoothing is for single-label classifiers; leave it at 0"):
        fit(table, tmp_path, label_smoothing=0.1)
    names = (*open_dataset(folders).class_names, "cube")
    with pytest.raises(LabelError, match="no picture to train with shows cube"):
        train_classifier(split(folders, "train"), [], names, ClassifierSettings(**TOY), tmp_path)
    with pytest.raises(WeightsError, match="resnet50 needs its weights"):
        fit(folders, tmp_path, model="resnet50", weights=None)
    with pytest.raises(ValueError, match="optimizer"):
        ClassifierSettings(optimizer="adam")
    with pytest.raises(ValueError, match="learning_rate"):
        ClassifierSettings(learning_rate=0.1)
    assert not list(tmp_path.iterdir())


def test_folders_without_a_classifier(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        load_trained(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds no trained classifier (classifier.json is missing); finish its training first"
    )
    (tmp_path / "classifier.json").write_text('{"advcam_classifier": 7}')
    with pytest.raises(RunError, match=r"is damaged \(it has format 7, expected 1\); train again in another folder"):
        load_trained(tmp_path)
    (tmp_path / "classifier.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        load_trained(tmp_path)


def test_settings_say_their_side_and_schedule() -> None:
    assert ClassifierSettings().side == 224
    assert ClassifierSettings(augmentation="voc").side == 512
    assert ClassifierSettings(augmentation="voc", crop=321).side == 321
    steps = ClassifierSettings(schedule="steps", epochs=10, warmup=1).schedule_of()
    assert [steps(step, 1, 10) for step in (0, 2, 3, 9)] == pytest.approx([1, 1, 0.1, 0.001])
    assert ClassifierSettings(schedule="steps", decay_every=15).schedule_of()(15, 1, 50) == pytest.approx(0.1)
    assert ClassifierSettings().schedule_of()(1, 1, 2) == pytest.approx(0.5**0.9)
