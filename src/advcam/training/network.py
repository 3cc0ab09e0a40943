"""The network that a training begins with: pretrained weights, a new head, and which of its layers are trained."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from advcam.classifiers.catalogue import EMBEDDED, load_classifier
from advcam.classifiers.classifier import Classifier
from advcam.classifiers.layers import LayerResponder
from advcam.classifiers.weights import PREFIXES, read_weights
from advcam.errors import ModelError, WeightsError
from advcam.training.augment import Normalisation

Trained = Literal["mixture", "head", "last", "all"]


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """A network before its training.

    Args:
        network: With K outputs.
        head: Names of the modules that make scores of features.
        fast: Names of the modules whose learning rate is multiplied: the head, or what the network says of itself.
        normalisation: Of its inputs.
        fresh: Names of the tensors that were not in the weights file, and start at random.
    """

    network: nn.Module
    head: tuple[str, ...]
    fast: tuple[str, ...]
    normalisation: Normalisation
    fresh: tuple[str, ...]


def starting_point(
    model: str,
    num_classes: int,
    weights: str | PathLike[str] | None = None,
    output_stride: int | None = None,
    seed: int = 0,
) -> StartingPoint:
    """A network with K outputs, filled with pretrained weights as far as they fit.

    A head that does not fit is drawn as PyTorch does, uniform within 1 / sqrt(features), as the head of IRN and AdvCAM.
    timm's own rule for EfficientNets goes by the number of classes, and few classes would start with scores in the
    tens.

    Args:
        model: Name as `advcam.load_classifier` takes it.
        num_classes: K.
        weights: A file of weights of the same network with any number of classes; the word "random"; None takes the
            embedded ones. A head of another size starts at random.
        output_stride: See `advcam.load_classifier`.
        seed: Of what starts at random.

    Raises:
        ModelError: An unknown network, or one whose head is not found.
        WeightsError: No weights, or a file that is not of this network.
    """
    if weights is None and model not in EMBEDDED:
        load_classifier(model, num_classes=num_classes)  # says which weights are needed
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        classifier = load_classifier(model, weights="random", num_classes=num_classes, output_stride=output_stride)
        network = classifier.module
        head = _head(classifier, num_classes)
        fast = tuple(getattr(network, "new_layers", head))
        fresh: tuple[str, ...] = ()
        if weights != "random":
            tensors = load_classifier(model).module.state_dict() if weights is None else read_weights(weights)
            fresh = _fill(network, tensors, {*head, *fast}, str(weights or model))
    return StartingPoint(network, head, fast, Normalisation(classifier.mean, classifier.std), fresh)


def choose_trained(start: StartingPoint, trained: Trained, frozen_stem: bool) -> None:
    """Set `requires_grad` of each parameter of a network.

    Args:
        start: The network.
        trained: "mixture" and "head": the new head alone. "last": also the last third of the stages. "all": everything.
        frozen_stem: Whether "all" leaves out the first stage (AdvCAM's recipe: the first convolution and its batch
            normalisation).
    """
    stages = network_stages(start.network, start.head)
    last = len(stages) - max(1, len(stages) // 3)
    first = {"mixture": len(stages), "head": len(stages), "last": last, "all": int(frozen_stem)}[trained]
    names = {name for stage in stages[first:] for name in stage}
    for name, parameter in start.network.named_parameters():
        parameter.requires_grad_(name in names or _inside(name, start.head))


def network_stages(network: nn.Module, head: Sequence[str]) -> list[list[str]]:
    """Names of the parameters of each stage of a network from the input on, those of the head left out.

    timm's networks say what their stages are; of others each child is one, and of a sequence each of its layers.
    """
    matcher: Any = getattr(network, "group_matcher", None)
    if matcher is not None:
        groups: dict[int, list[str]] = timm.models.group_parameters(network, matcher(coarse=True))
        stages = [names for _, names in sorted(groups.items())]
    else:
        layers: list[tuple[str, nn.Module]] = []
        for name, child in network.named_children():
            inner = [(f"{name}.{n}", c) for n, c in child.named_children()] if type(child) is nn.Sequential else []
            layers += inner or [(name, child)]
        stages = [[f"{name}.{n}" for n, _ in layer.named_parameters()] for name, layer in layers]
    without_head = [[name for name in stage if not _inside(name, head)] for stage in stages]
    return [stage for stage in without_head if stage]


def _head(classifier: Classifier, num_classes: int) -> tuple[str, ...]:
    """Names of the modules that make scores of features."""
    network = classifier.module
    if isinstance(classifier.responder, LayerResponder) and classifier.responder.head is not None:
        return (classifier.responder.head,)
    stated = (getattr(network, "pretrained_cfg", None) or {}).get("classifier")
    if stated:
        return (stated,) if isinstance(stated, str) else tuple(stated)
    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    name, last = layers[-1]
    if getattr(last, "out_features", getattr(last, "out_channels", None)) != num_classes:
        raise ModelError(
            f"the head of {classifier.name} is not found: its last layer {name} has not {num_classes} outputs"
        )
    return (name,)


def _fill(network: nn.Module, tensors: dict[str, Tensor], optional: set[str], source: str) -> tuple[str, ...]:
    """Copy what fits by name and shape; the names that were not filled.

    Counters of batch normalisations are no weights, and older files lack them.
    """
    own = network.state_dict()
    for prefix in PREFIXES:
        if not tensors.keys() & own.keys():
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    fitting = {name: v for name, v in tensors.items() if name in own and own[name].shape == v.shape}
    fresh = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    wrong = [name for name in fresh if not _inside(name, optional)]
    if wrong:
        problem = "lacks" if wrong[0] not in tensors else "has another shape of"
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise WeightsError(
            f"{source} holds the weights of another network than {type(network).__name__}: it {problem} {wrong[0]}"
            f"{more}; choose the network that they were trained with"
        )
    # A head is taken whole or not at all.
    unfit = sorted(layer for layer in optional if any(_inside(name, [layer]) for name in fresh))
    taken = {name: value for name, value in fitting.items() if not _inside(name, unfit)}
    network.load_state_dict(taken, strict=False)
    for name in unfit:
        for layer in network.get_submodule(name).modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.reset_parameters()
    return tuple(name for name in own if _inside(name, unfit))


def _inside(name: str, layers: Collection[str]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)
