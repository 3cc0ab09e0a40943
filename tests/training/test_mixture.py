"""Heads as mixtures of pretrained outputs: closed forms, sparse and not negative, the same at every run."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

import advcam
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import ModelError, SettingError, WeightsError
from advcam.training import mixture as mixture_module
from advcam.training.augment import RECIPES, Normalisation, Preparation
from advcam.training.classification import TrainingPictures
from advcam.training.classifier import ClassifierSettings, TrainedClassifier, load_trained, train_classifier
from advcam.training.loop import Progress
from advcam.training.mixture import collect_features, fit_mixture, head_weights, pretrained_outputs, set_head
from advcam.types import Sample

TOY = {"model": "test_resnet", "weights": "random", "trained": "mixture", "crop": 48, "precision": "float32"}


def one_hot(count: int) -> Tensor:
    """`count` pictures of each of 6 features, and which they are."""
    return torch.eye(6).repeat(count, 1)


def cross_entropy(labels: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda scores: functional.cross_entropy(scores, labels)


def test_the_outputs_that_make_a_class_are_found() -> None:
    """Feature j fires pretrained output j alone; class 0 is outputs 1 and 4, class 1 is output 2, class 2 the rest."""
    features, labels = one_hot(4), torch.tensor([2, 0, 1, 2, 0, 2]).repeat(4)
    weight, bias = fit_mixture(features, torch.eye(6), cross_entropy(labels), 3, penalty=1e-3)
    assert weight.shape == (3, 6)
    assert bias.shape == (3,)
    assert (weight >= 0).all()
    found = weight > 0.1 * weight.max()
    assert found[0].nonzero().flatten().tolist() == [1, 4]
    assert found[1].nonzero().flatten().tolist() == [2]
    assert ((features @ weight.T + bias).argmax(dim=1) == labels).all()


def test_the_closed_form_of_one_output() -> None:
    """Squared error with features of mean 0: the minimum of mean (a x - y)^2 + penalty a is (2 c - penalty) / 2 v."""
    x = torch.tensor([[-1.0], [1.0], [-2.0], [2.0]])
    y = 0.7 * x[:, :1]
    variance, covariance = float((x**2).mean()), float((x * y).mean())
    for penalty in (0.0, 0.5, 2.0):
        weight, bias = fit_mixture(x, torch.ones(1, 1), lambda s: ((s - y) ** 2).mean(), 1, penalty)
        assert float(weight) == pytest.approx((2 * covariance - penalty) / (2 * variance), abs=1e-3)
        assert float(bias) == pytest.approx(0, abs=1e-3)
    weight, _ = fit_mixture(x, torch.ones(1, 1), lambda s: ((s - y) ** 2).mean(), 1, penalty=2 * covariance + 1)
    assert float(weight) == pytest.approx(0, abs=1e-3), "a penalty above the slope at 0 leaves nothing"
    weight, _ = fit_mixture(x, torch.ones(1, 1), lambda s: ((s + y) ** 2).mean(), 1, penalty=0.0)
    assert float(weight) == pytest.approx(0, abs=1e-3), "what would have to be negative is 0"


def test_weights_are_those_of_the_mixture() -> None:
    """W = A V with A from the answers V f, for any V."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn((40, 5), generator=generator)
    pretrained = torch.randn((7, 5), generator=generator)
    labels = (features @ pretrained[3] > 0).long()
    weight, bias = fit_mixture(features, pretrained, cross_entropy(labels), 2, penalty=1e-2)
    amounts = torch.linalg.lstsq(pretrained.T, weight.T).solution.T
    assert torch.allclose(amounts @ pretrained, weight, atol=1e-4), "in the span of the pretrained outputs"
    assert ((features @ weight.T + bias).argmax(dim=1) == labels).float().mean() > 0.9


def test_a_greater_penalty_is_sparser() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.rand((60, 12), generator=generator)
    labels = (features[:, :6].sum(dim=1) > features[:, 6:].sum(dim=1)).long()
    sums, counts = [], []
    for penalty in (0.0, 1e-3, 1e-2, 1e-1):
        weight, _ = fit_mixture(features, torch.eye(12), cross_entropy(labels), 2, penalty)
        sums.append(float(weight.sum()))
        counts.append(int((weight > 1e-3).sum()))
    assert sums == sorted(sums, reverse=True)
    assert sums[0] > 10 * sums[-1]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0]


def test_the_same_at_every_run() -> None:
    labels = torch.tensor([2, 0, 1, 2, 0, 2]).repeat(4)
    first = fit_mixture(one_hot(4), torch.eye(6), cross_entropy(labels), 3)
    torch.rand(7)
    second = fit_mixture(one_hot(4), torch.eye(6), cross_entropy(labels), 3)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


class Net(nn.Module):
    """A convolution, and a head of either kind."""

    def __init__(self, head: nn.Module, pooled: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.features = nn.Conv2d(3, 5, 3, 4)
        self.head, self.pooled = head, pooled

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.features(pictures).relu()
        return self.head(features.mean(dim=(2, 3)) if self.pooled else features)


@pytest.fixture
def noise(tmp_path: Path) -> TrainingPictures:
    """Five pictures of noise with two classes."""
    rng, samples = np.random.default_rng(0), []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
        samples.append(Sample(path.name, path, ("a",)))
    labels = functional.one_hot(torch.tensor([0, 1, 0, 1, 1]), 2).float()
    normalise = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return TrainingPictures(samples, labels, Preparation(RECIPES["resized-crop"], 32, normalise), seed=3)


def collect(network: nn.Module, pictures: TrainingPictures, looks: int = 2) -> tuple[Tensor, Tensor, list[Progress]]:
    told: list[Progress] = []
    features, labels = collect_features(
        network.eval(),
        "head",
        pictures,
        looks=looks,
        batch_size=2,
        precision=torch.float32,
        progress=told.append,
    )
    return features, labels, told


@pytest.mark.parametrize("pooled", [True, False])
def test_features_are_what_the_head_sees(noise: TrainingPictures, pooled: bool) -> None:
    """Means over the picture, in the order of the pictures, augmented anew at each look."""
    head = nn.Linear(5, 2) if pooled else nn.Conv2d(5, 2, 1)
    network = Net(head, pooled)
    features, labels, told = collect(network, noise)
    assert features.shape == (10, 5)
    assert torch.equal(labels, noise.labels.repeat(2, 1))
    passes = [(now.epoch, now.epochs, now.step, now.steps) for now in told]
    assert passes == [(look, 2, done, 3) for look in (1, 2) for done in (1, 2, 3)]
    for look in range(2):
        noise.set_epoch(look)
        for number in range(5):
            with torch.no_grad():
                seen = network.features(noise[number]["pictures"][None]).relu().mean(dim=(2, 3))[0]
            assert torch.allclose(features[5 * look + number], seen, atol=1e-6)
    assert not torch.equal(features[:5], features[5:])
    assert not network.head._forward_pre_hooks


def test_no_hook_is_left_after_an_error(noise: TrainingPictures) -> None:
    network = Net(nn.Linear(4, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        collect(network, noise)
    assert not network.head._forward_pre_hooks
    assert not network._forward_pre_hooks


def test_more_looks_than_fit_into_memory(noise: TrainingPictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture_module, "_MOST_LOOKS", 9)
    with pytest.raises(SettingError) as caught:
        collect(Net(nn.Linear(5, 2)), noise)
    assert str(caught.value) == (
        'trained="mixture" keeps what it sees of every picture: 2 epochs of 5 pictures are more than 9; take fewer '
        "epochs, or another choice of trained"
    )


def test_heads_that_are_linear_and_heads_that_are_not() -> None:
    linear, conv = nn.Linear(5, 2), nn.Conv2d(5, 2, 1)
    assert head_weights(Net(linear), ["head"]) is linear
    assert head_weights(Net(conv), ["head"]) is conv
    wide, several = Net(nn.Conv2d(5, 2, 3)), Net(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)))
    for network, names in ((wide, ["head"]), (several, ["head"]), (Net(linear), ["head", "features"])):
        with pytest.raises(ModelError) as caught:
            head_weights(network, names)
        assert str(caught.value) == (
            'trained="mixture" mixes the outputs of a linear head; Net has none; take "head", "last" or "all"'
        )


def test_a_head_is_filled() -> None:
    weight, bias = torch.arange(10.0).view(2, 5), torch.tensor([1.0, -1.0])
    for head in (nn.Linear(5, 2), nn.Conv2d(5, 2, 1), nn.Linear(5, 2, bias=False)):
        set_head(head, weight, bias)
        assert torch.equal(head.weight.detach().flatten(1), weight)
        assert head.bias is None or torch.equal(head.bias.detach(), bias)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "folders"
    write_dataset("folders", root, 12)
    return root


def fit(root: Path, folder: Path, told: list[Progress] | None = None, **settings: object) -> TrainedClassifier:
    dataset = open_dataset(root)
    chosen = ClassifierSettings(**(TOY | {"epochs": 2, "batch_size": 8} | settings))
    train, val = (list(dataset.samples(split)) for split in ("train", "val"))
    heard = told.append if told is not None else None
    return train_classifier(train, val, dataset.class_names, chosen, folder, progress=heard)


def test_a_trained_mixture_is_loaded_again(folders: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    trained = fit(folders, tmp_path, told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", "classes.txt", "classifier.json"]
    assert {(word.epoch, word.epochs) for word in told} == {(1, 2), (2, 2)}
    assert dict(told[-1].metrics).keys() == {"loss", "top_1"}
    loaded = load_trained(tmp_path)
    assert loaded.class_names == ("ellipse", "rectangle", "triangle", "wheel")
    facts = json.loads((tmp_path / "classifier.json").read_text())
    assert facts["settings"]["trained"] == "mixture"
    assert facts["metrics"] == dict(trained.metrics)
    head = head_weights(loaded.module, [loaded.module.pretrained_cfg["classifier"]])
    assert head.weight.shape[0] == 4
    sample = next(iter(open_dataset(folders).samples("val")))
    (attribution,) = advcam.CAM(loaded)([Image.open(sample.path)], [list(sample.labels or ())])
    assert attribution.class_names == sample.labels


def test_a_mixture_trains_nothing_but_the_head(folders: Path, tmp_path: Path) -> None:
    """Of the embedded ImageNet network; it tells four shapes apart."""
    trained = fit(folders, tmp_path, model="lite0", weights=None, crop=64)
    before, after = advcam.load_classifier("lite0").module.state_dict(), load_trained(tmp_path).module.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert trained.metrics["training_loss"] < np.log(4)
    old, new = before["classifier.weight"], after["classifier.weight"]
    amounts = torch.linalg.lstsq(old.double().T, new.double().T, driver="gelsd").solution
    assert torch.allclose(old.double().T @ amounts, new.double().T, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_any_number_of_classes(folders: Path, tmp_path: Path, prefix: str) -> None:
    """The outputs of a classifier of 7 classes, as saved and as saved by several processes, are mixed."""
    old = advcam.load_classifier("test_resnet", weights="random", num_classes=7).module.state_dict()
    save_file({prefix + name: value for name, value in old.items()}, tmp_path / "seven.safetensors")
    found = pretrained_outputs("test_resnet", tmp_path / "seven.safetensors", ["fc"], seed=0)
    assert torch.equal(found, old["fc.weight"])
    fit(folders, tmp_path / "run", weights=tmp_path / "seven.safetensors")
    new = load_trained(tmp_path / "run").module.state_dict()
    assert all(torch.equal(new[name], value) for name, value in old.items() if not name.startswith("fc."))
    amounts = torch.linalg.lstsq(old["fc.weight"].double().T, new["fc.weight"].double().T).solution
    assert torch.allclose(old["fc.weight"].double().T @ amounts, new["fc.weight"].double().T, atol=1e-5)
    assert (amounts > -1e-4).all()


def test_weights_without_outputs(tmp_path: Path) -> None:
    old = advcam.load_classifier("test_resnet", weights="random", num_classes=7).module.state_dict()
    path = tmp_path / "headless.safetensors"
    save_file({name: value for name, value in old.items() if not name.startswith("fc.")}, path)
    with pytest.raises(WeightsError) as caught:
        pretrained_outputs("test_resnet", path, ["fc"], seed=0)
    assert str(caught.value) == (
        f'{path} holds no fc.weight, the outputs that trained="mixture" mixes; take "head", "last" or "all"'
    )


def test_two_trainings_are_the_same(folders: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fit(folders, tmp_path / name)
        torch.rand(3)
    first, second = (load_file(tmp_path / name / "best.safetensors") for name in ("a", "b"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
