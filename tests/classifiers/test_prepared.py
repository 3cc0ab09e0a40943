"""The copy that methods run: it answers as the user's network does, and the user's network never notices."""

import copy
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from normed import CLASSES, Network, answers, noise, normalised, same_answers, warned
from torch import Tensor, nn

from advcam import CAM, Classifier
from advcam.classifiers.folding import fold_batch_norm


class NormalisedFirst(Network):
    """The normalisation stands behind a convolution and runs before it."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = nn.Conv2d(3, 3, 1)
        self.normalising = normalised(3, torch.Generator().manual_seed(1))
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(self.mixing(self.normalising(inputs)))


class Branched(NormalisedFirst):
    """What the convolution gives is used without the normalisation too."""

    def forward(self, inputs: Tensor) -> Tensor:
        mixed = self.mixing(inputs)
        return Network.forward(self, mixed + self.normalising(mixed))


def normalisations(module: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())


# The user's network


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"precision": "bfloat16"}, {"precision": "float64"}])
def test_the_network_itself_is_untouched(options: dict[str, object]) -> None:
    module = Network()
    module.train()
    module.features[1].eval()
    module.head.requires_grad_(False)
    hooked = module.features[2].register_forward_hook(lambda *_: None)
    classifier = Classifier.from_module(module)

    def state() -> list[object]:
        layers = [(type(m), m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()]
        tensors = [*module.parameters(), *module.buffers()]
        where = [(t.data_ptr(), t._version, t.dtype, t.stride(), t.requires_grad, t.grad) for t in tensors]
        return [layers, where, hooked.id in module.features[2]._forward_hooks]

    before, weights = state(), copy.deepcopy(module.state_dict())
    answers(classifier.prepared(**options), noise())  # type: ignore[arg-type]
    assert state() == before
    assert all(torch.equal(weights[name], tensor) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"precision": "bfloat16"}, {"precision": "float64"}])
def test_the_copy_is_for_evaluation_only(options: dict[str, object]) -> None:
    module = Network().train()
    network = Classifier.from_module(module).prepared(**options)  # type: ignore[arg-type]
    assert network.module is not module
    layers = [layer for layer in network.module.modules() if not isinstance(layer, nn.Identity)]
    assert not any(layer.training for layer in layers)
    assert not any(parameter.requires_grad for parameter in network.module.parameters())
    ours = {tensor.data_ptr() for tensor in module.state_dict().values()}
    assert ours.isdisjoint(tensor.data_ptr() for tensor in network.module.state_dict().values())


def test_what_cannot_be_copied_runs_as_it_is() -> None:
    module = Network()
    module.lock = threading.Lock()  # type: ignore[assignment]
    classifier = Classifier.from_module(module)
    network, message = warned(classifier, "bfloat16")
    assert message.startswith("the network cannot be copied (cannot pickle '_thread.lock' object); it runs as it is")
    assert network.module is module
    assert network.dtype == torch.float32
    same_answers(network, classifier, tolerance=0)
    assert classifier.prepared("bfloat16") is network, "said once"


def test_a_tensor_on_the_graph_cannot_be_copied_either() -> None:
    module = Network()
    classifier = Classifier.from_module(module)
    module.last = module(noise())
    network, message = warned(classifier, "float32")
    assert message.startswith("the network cannot be copied (Only Tensors created explicitly by the user")
    assert network.module is module


# Folding


def test_folded_the_network_answers_as_before() -> None:
    classifier = Classifier.from_module(Network())
    network = classifier.prepared("float32")
    assert normalisations(classifier.module) == 2
    assert normalisations(network.module) == 0
    same_answers(network, classifier)


@pytest.mark.parametrize("make", [NormalisedFirst, Branched])
def test_a_normalisation_that_does_not_follow_its_convolution_stays(make: Callable[[], nn.Module]) -> None:
    module = make()
    wrong = copy.deepcopy(module)
    assert fold_batch_norm(wrong) == 3
    assert (wrong(noise()) - module(noise())).abs().max() > 0.1, "the case says nothing if folding does no harm"
    classifier = Classifier.from_module(module)
    network = classifier.prepared("float32")
    assert normalisations(network.module) == 3
    same_answers(network, classifier)


def test_a_convolution_that_is_the_feature_layer_keeps_its_normalisation() -> None:
    classifier = Classifier.from_module(Network(), feature_layer="features.3")
    same_answers(classifier.prepared("float32"), classifier)


def test_exact_leaves_normalisations_in_place() -> None:
    classifier = Classifier.from_module(Network())
    network = classifier.prepared("float32", exact=True)
    assert normalisations(network.module) == 2
    same_answers(network, classifier, tolerance=1e-6)


# What is kept


def test_one_copy_for_each_wish_as_long_as_nothing_changes() -> None:
    classifier = Classifier.from_module(Network())
    first = classifier.prepared("float32")
    wishes = ({"precision": "bfloat16"}, {"precision": "float32", "exact": True}, {"precision": "float64"})
    others = [classifier.prepared(**wish) for wish in wishes]  # type: ignore[arg-type]
    assert len({id(network) for network in (first, *others)}) == 4
    CAM(classifier, precision="float32", scales=(1.0,))([np.zeros((40, 40, 3), dtype=np.uint8)], [[0]])
    classifier.module.train()
    classifier.to("cpu")
    assert classifier.prepared("float32") is classifier.prepared("auto") is first
    assert all(classifier.prepared(**wish) is other for wish, other in zip(wishes, others, strict=True))  # type: ignore[arg-type]


def scaled(module: Network) -> None:
    with torch.no_grad():
        module.features[3].weight.mul_(2)


def loaded(module: Network) -> None:
    module.load_state_dict(Network(seed=1).state_dict())


def replaced(module: Network) -> None:
    module.head = nn.Linear(24, CLASSES)


def trained(module: Network) -> None:
    """Only the stored statistics change."""
    module.features.train()
    with torch.no_grad():
        module(noise())
    module.eval()


def averaged(module: Network) -> None:
    """As moving averages of weights write, past the count of changes."""
    module.features[3].weight.data.mul_(1.5)


def activated(module: Network) -> None:
    module.features[5] = nn.GELU()


@pytest.mark.parametrize("change", [scaled, loaded, replaced, trained, averaged, activated])
def test_a_new_copy_after_the_weights_changed(change: Callable[[Network], None]) -> None:
    module = Network()
    classifier = Classifier.from_module(module)
    first = classifier.prepared("float32")
    exact = classifier.prepared("float32", exact=True)
    before = answers(first, noise())[0]
    change(module)
    second = classifier.prepared("float32")
    assert second is not first
    assert classifier.prepared("float32", exact=True) is not exact
    assert classifier.prepared("float32") is second
    assert (answers(second, noise())[0] - before).abs().max() > 1e-3
    same_answers(second, classifier)
