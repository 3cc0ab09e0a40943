"""In which number format a network is run, what stays in float32, and what happens where half precision fails."""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from normed import CLASSES, Network, answers, correlation, noise, same_answers, warned
from torch import Tensor, nn
from torch.nn import functional

from advcam import CAM, AdvCAM, Classifier
from advcam.attribution.precision import has_bfloat16
from advcam.attribution.response import DenseResponse, Response
from advcam.errors import SettingError

CHOICES = "precision is one of auto, float64, float32, bfloat16, float16; got 'half'"


# Which precision


def test_unknown_precision() -> None:
    classifier = Classifier.from_module(Network())
    for ask in (classifier.precision, classifier.prepared, lambda name: AdvCAM(classifier, precision=name)):
        with pytest.raises(SettingError) as caught:
            ask("half")
        assert str(caught.value) == CHOICES


def test_auto_takes_what_the_device_is_fastest_in(monkeypatch: pytest.MonkeyPatch) -> None:
    single, double = Classifier.from_module(Network()), Classifier.from_module(Network().double())
    assert (single.precision("auto"), double.precision("auto")) == ("float32", "float64")
    monkeypatch.setattr("advcam.attribution.precision.has_bfloat16", lambda _device: True)
    assert (single.precision("auto"), double.precision("auto")) == ("bfloat16", "float64")
    assert single.precision("auto", exact=True) == "float32"
    assert (AdvCAM(single).precision, AdvCAM(single, variant="published").precision) == ("bfloat16", "float32")
    assert AdvCAM(single, precision="float32").precision == "float32"
    assert single.prepared("auto").module.features[3].weight.dtype == torch.bfloat16
    assert double.prepared("auto").module.features[3].weight.dtype == torch.float64


@pytest.mark.parametrize("avx", [True, False])
@pytest.mark.parametrize("amx", [True, False])
def test_processors_with_bfloat16(monkeypatch: pytest.MonkeyPatch, avx: bool, amx: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert has_bfloat16(torch.device("cpu")) is (avx or amx)


def test_other_devices_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    capability = {"cuda:0": (7, 5), "cuda:1": (8, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability[str(device)])
    assert [has_bfloat16(torch.device(name)) for name in ("cuda:0", "cuda:1", "meta")] == [False, True, False]


def allowed() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def tf32_allowed() -> Iterator[None]:
    """As a user may have set it."""
    before = allowed()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize(("precision", "tf32"), [("float32", False), ("float64", False), ("bfloat16", True)])
def test_float32_means_float32_while_a_method_runs(tf32_allowed: None, precision: str, tf32: bool) -> None:
    """Convolutions and products on a GPU keep what they are allowed elsewhere, also after an error."""
    seen: list[tuple[bool, bool]] = []

    def respond(module: Network, inputs: Tensor) -> Response:
        seen.append(allowed())
        if len(inputs) > 1:
            raise RuntimeError("out of luck")
        return DenseResponse(module.features(inputs))

    classifier = Classifier.from_module(Network(), responder=respond)
    picture = np.zeros((40, 40, 3), dtype=np.uint8)
    CAM(classifier, precision=precision, scales=(1.0,), flip=False)([picture], [[0]])  # type: ignore[arg-type]
    assert seen[-1] == (tf32, tf32)
    assert allowed() == (True, True)
    with pytest.raises(RuntimeError, match="out of luck"):
        CAM(classifier, precision=precision, scales=(1.0,))([picture], [[0]])  # type: ignore[arg-type]
    assert allowed() == (True, True)


# Half precision


def test_bfloat16_maps_scores_and_gradients() -> None:
    classifier = Classifier.from_module(Network())
    network = classifier.prepared("bfloat16")
    for label in range(CLASSES):
        scores, maps, gradient = answers(network, noise(), label)
        full_scores, full_maps, full_gradient = answers(classifier, noise(), label)
        assert (scores.dtype, maps.dtype, gradient.dtype) == (torch.float32,) * 3
        assert correlation(maps, full_maps) > 0.99
        assert correlation(gradient, full_gradient) > 0.95
        torch.testing.assert_close(scores, full_scores, rtol=0.02, atol=0.02)
        assert (maps != full_maps).any(), "nothing was computed in half precision"


def test_first_convolution_and_head_stay_in_float32() -> None:
    """A step smaller than half precision resolves still reaches the network, and scores have more than eight bits."""
    network = Classifier.from_module(Network()).prepared("bfloat16")
    assert network.dtype == torch.float32
    dtypes = {name: parameter.dtype for name, parameter in network.module.named_parameters() if "weight" in name}
    assert dtypes == {
        "features.0.weight": torch.float32,
        "features.3.weight": torch.bfloat16,
        "head.weight": torch.float32,
    }
    scores = answers(network, noise(8))[0]
    assert (scores != scores.bfloat16().float()).float().mean() > 0.5


def test_two_convolutions_on_the_picture() -> None:
    """Only one of them can be kept in float32, so neither is."""

    class Split(Network):
        def __init__(self) -> None:
            super().__init__()
            self.second = nn.Conv2d(3, 16, 3, stride=2, padding=1)
            self.eval()

        def forward(self, inputs: Tensor) -> Tensor:
            mixed = self.features[0](inputs) + self.second(inputs)
            return self.head(self.features[1:](mixed).mean(dim=(2, 3)))

    classifier = Classifier.from_module(Split())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = classifier.prepared("bfloat16")
    assert network.dtype == torch.bfloat16
    assert correlation(answers(network, noise())[1], answers(classifier, noise())[1]) > 0.99


class Float32Only(Network):
    def forward(self, inputs: Tensor) -> Tensor:
        if self.features[3].weight.dtype != torch.float32:
            raise RuntimeError("no kernel for this format\nand a long explanation")
        return super().forward(inputs)


class Asserting(Network):
    def forward(self, inputs: Tensor) -> Tensor:
        assert self.features[3].weight.dtype == torch.float32, "single precision only"
        return super().forward(inputs)


class Overflowing(Network):
    def forward(self, inputs: Tensor) -> Tensor:
        return self.head((1e6 * self.features(inputs)).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("make", "precision", "problem"),
    [
        (Float32Only, "bfloat16", "no kernel for this format"),
        (Float32Only, "float16", "no kernel for this format"),
        (Asserting, "bfloat16", "single precision only"),
        (Overflowing, "float16", "its scores overflow"),
    ],
)
def test_where_half_precision_fails_float32_is_used(
    make: Callable[[], nn.Module], precision: str, problem: str
) -> None:
    classifier = Classifier.from_module(make())
    network, message = warned(classifier, precision)
    assert message == f"the network does not run in {precision} ({problem}); it runs in float32"
    assert {tensor.dtype for tensor in network.module.parameters()} == {torch.float32}
    assert network.dtype == torch.float32
    same_answers(network, classifier)


def test_responders_of_the_user_answer_in_half_precision_too() -> None:
    def respond(module: Network, inputs: Tensor) -> Response:
        weight = module.head.weight[:, :, None, None].to(inputs.dtype)
        features = module.features(inputs)
        return DenseResponse(functional.conv2d(features, weight.to(features.dtype)))

    classifier = Classifier.from_module(Network(), responder=respond)
    scores, maps, gradient = answers(classifier.prepared("bfloat16"), noise())
    assert (scores.dtype, maps.dtype, gradient.dtype) == (torch.float32,) * 3
    assert correlation(maps, answers(classifier, noise())[1]) > 0.99


# More than the weights have


def test_double_precision_on_demand() -> None:
    classifier = Classifier.from_module(Network())
    network = classifier.prepared("float64")
    expected = Classifier.from_module(Network().double())
    scores, maps, gradient = answers(network, noise())
    torch.testing.assert_close(scores, expected.respond(noise().double()).scores.detach(), rtol=0, atol=1e-6)
    assert (scores.dtype, maps.dtype, gradient.dtype) == (torch.float64, torch.float64, torch.float32)
