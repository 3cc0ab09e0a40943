"""A compiled network answers as before, layer and gradients included; where compiling fails, nothing changes."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch._dynamo.utils import counters

from advcam import CAM, AdvCAM, Classifier, GradCAM, SettingError
from advcam.attribution.response import DenseResponse, LayerResponse, Response
from advcam.classifiers.layers import LayerResponder
from advcam.classifiers.prepared import PreparedNetwork

CLASSES = 3


class Network(nn.Module):
    """Two convolutions, global average pooling, a linear head; float32."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.features = nn.Sequential(
                nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6)
            )
            self.head = nn.Linear(6, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


class Overwriting(Network):
    """Behind the feature layer an activation overwrites what the layer gave."""

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).relu_().mean(dim=(2, 3)))


def class_maps(module: Network, inputs: Tensor) -> Response:
    maps = torch.einsum("bfhw,kf->bkhw", module.features(inputs), module.head.weight)
    return DenseResponse(maps, scores=maps.mean(dim=(2, 3)))


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """Otherwise networks of earlier tests count towards the limit of recompilations."""
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler traces and differentiates the network, and leaves out the slow part, to write C++ of it."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def same_answers(network: PreparedNetwork, classifier: Classifier, inputs: Tensor) -> None:
    """Scores, class maps, maps of all classes, features; the gradients of a score and of the maps at the pictures."""
    labels = torch.arange(len(inputs)) % CLASSES

    def answers(answering: PreparedNetwork | Classifier) -> list[Tensor]:
        response = answering.respond(inputs)
        values = [response.scores, response.class_map(labels), response.score_maps()]
        if isinstance(response, LayerResponse):
            values.append(response.features())
        picture = inputs.clone().requires_grad_()
        for value in (lambda r: r.scores[:, 1], lambda r: r.class_map(labels).square()):
            values += torch.autograd.grad(value(answering.respond(picture)).sum(), picture)
        return [value.detach() for value in values]

    with classifier.frozen():
        for ours, theirs in zip(answers(network), answers(classifier), strict=True):
            assert theirs.abs().max() > 0
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def was_compiled(network: PreparedNetwork, classifier: Classifier) -> bool:
    """Whether the compiler was used, on the network as a whole."""
    whole = counters["stats"]["unique_graphs"] >= 1 and not counters["graph_break"]
    return whole and network.responder is not classifier.responder


def hooks(module: nn.Module) -> int:
    return sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in module.modules())


def picture(width: int = 96, height: int = 96) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


# Compiled


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))), reason="needs a C++ compiler")
@pytest.mark.parametrize("make", [Network, Overwriting])
def test_compiled_networks_answer_as_before(make: Callable[[], Network]) -> None:
    """With the compiler that users get. The pictures have the size it has compiled for: another would take as long."""
    module = make()
    classifier = Classifier.from_module(module)
    network = classifier.prepared("float32", compiled=True)
    assert was_compiled(network, classifier)
    same_answers(network, classifier, noise(1, 3, 96, 96))
    compiled = AdvCAM(classifier, compiled=True, scales=(1.0,), iterations=3)
    (ours,) = compiled([picture()], [[1]])
    assert classifier.prepared("float32", compiled=True) is network, "the method has used the same copy"
    (theirs,) = AdvCAM(Classifier.from_module(module), scales=(1.0,), iterations=3)([picture()], [[1]])
    np.testing.assert_allclose(ours.maps, theirs.maps, atol=1e-4)
    assert theirs.maps.max() == 1


def test_pictures_of_many_sizes(traced: None) -> None:
    classifier = Classifier.from_module(Overwriting())
    network = classifier.prepared("float32", compiled=True)
    for shape in ((1, 3, 96, 96), (2, 3, 40, 48), (3, 3, 64, 33)):
        same_answers(network, classifier, noise(*shape))
    assert was_compiled(network, classifier)


@pytest.mark.parametrize("method", [CAM, partial(AdvCAM, iterations=3, flip=True)])
def test_methods_give_the_same_maps(traced: None, method: Callable[..., CAM | AdvCAM]) -> None:
    """Two pictures of one size, one of them with two classes, and one of another size whose two share a pass."""
    module = Overwriting()
    pictures, targets = [picture(), picture(70, 60), picture().rotate(90)], [[0, 2], [1], [1, 2]]
    classifier = Classifier.from_module(module)
    ours = method(classifier, compiled=True, scales=(0.5, 1.0))(pictures, targets)
    assert was_compiled(classifier.prepared("float32", compiled=True), classifier)
    theirs = method(Classifier.from_module(module), scales=(0.5, 1.0))(pictures, targets)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.maps, other.maps, atol=1e-5)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        assert other.maps.max() == 1


def test_what_one_pass_gave_outlives_the_next(traced: None) -> None:
    network = Classifier.from_module(Overwriting()).prepared("float32", compiled=True)
    labels = torch.tensor([0])
    first = network.respond(noise(1, 3, 96, 96))
    before = first.class_map(labels).detach().clone()
    second = network.respond(noise(1, 3, 96, 96) + 1)
    torch.testing.assert_close(first.class_map(labels), before, rtol=0, atol=0)
    assert (second.class_map(labels) - before).abs().max() > 0.1


def test_responders_of_the_user(traced: None) -> None:
    module = Network()
    module.forward = lambda inputs: class_maps(module, inputs).score_maps()  # type: ignore[method-assign]
    classifier = Classifier.from_module(module)
    network = classifier.prepared("float32", compiled=True)
    assert was_compiled(network, classifier)
    same_answers(network, classifier, noise(1, 3, 96, 96))


def test_half_precision_compiled(traced: None) -> None:
    module = Network()
    classifier = Classifier.from_module(module)
    network = classifier.prepared("bfloat16", compiled=True)
    assert was_compiled(network, classifier)
    plain = Classifier.from_module(module).prepared("bfloat16")
    inputs, labels = noise(2, 3, 64, 64), torch.tensor([0, 1])
    ours, theirs = network.respond(inputs), plain.respond(inputs)
    assert ours.scores.dtype == ours.class_map(labels).dtype == torch.float32
    torch.testing.assert_close(ours.scores, theirs.scores, rtol=0, atol=0.01)
    torch.testing.assert_close(ours.class_map(labels), theirs.class_map(labels), rtol=0, atol=0.01)


# Not compiled


class Failing(nn.Module):
    """What a compiler might give: it fails when it is first run."""

    def __init__(self, target: nn.Module, error: type[Exception]) -> None:
        super().__init__()
        self.target = target
        self.error = error
        self.calls = 0

    def forward(self, _inputs: Tensor) -> Tensor:
        self.calls += 1
        raise self.error("no compiler on this machine\n\nand a long explanation")


@pytest.mark.parametrize("error", [TorchDynamoException, RuntimeError, TypeError, AttributeError])
def test_where_compiling_fails_the_network_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    made: list[Failing] = []

    def failing(target: nn.Module, **_: object) -> Failing:
        made.append(Failing(target, error))
        return made[-1]

    monkeypatch.setattr(torch, "compile", failing)
    module = Overwriting()
    classifier = Classifier.from_module(module)
    method = AdvCAM(classifier, compiled=True, scales=(1.0,), iterations=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = [method([picture()], [[1]])[0] for _ in range(2)]
    (warning,) = caught
    assert warning.category is RuntimeWarning
    assert str(warning.message) == "the network cannot be compiled (no compiler on this machine); it runs as it is"
    (compiled,) = made
    assert compiled.calls == 1
    network = classifier.prepared("float32", compiled=True)
    assert network.responder == classifier.responder
    assert hooks(compiled.target) == hooks(network.module) == hooks(module) == 0
    same_answers(network, classifier, noise(2, 3, 40, 48))
    (expected,) = AdvCAM(Classifier.from_module(module), scales=(1.0,), iterations=2)([picture()], [[1]])
    for result in results:
        np.testing.assert_array_equal(result.maps, expected.maps)


def test_methods_that_need_the_gradient_at_the_layer_are_refused() -> None:
    with pytest.raises(SettingError, match="compiled serves CAM and AdvCAM; Grad-CAM needs the gradient"):
        GradCAM(Classifier.from_module(Network()), compiled=True)


def test_a_head_that_is_not_linear_runs_as_it_is() -> None:
    classifier = Classifier.from_module(Network(), responder=LayerResponder("features"))
    with pytest.warns(RuntimeWarning, match="cannot be compiled .its maps need the gradient at the feature layer"):
        network = classifier.prepared("float32", compiled=True)
    assert network.responder is classifier.responder


def test_a_compiler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object, **__: object) -> None:
        raise RuntimeError("torch.compile is not supported on Python 3.99")

    monkeypatch.setattr(torch, "compile", unsupported)
    classifier = Classifier.from_module(Network())
    with pytest.warns(RuntimeWarning, match="cannot be compiled .torch.compile is not supported"):
        network = classifier.prepared("float32", compiled=True)
    assert network.responder is classifier.responder
    assert not network.module.get_submodule("features")._forward_hooks
