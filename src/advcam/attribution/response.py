"""What a method may ask of a network: the answer to one batch, still attached to the autograd graph.

A method never touches a network. It sees a `Response`, which keeps apart the four things that a climb needs
and that networks define differently: the score that is climbed, the class map that the regulariser watches, the
class map that is accumulated, and the classes that compete. A GAP + linear network is a `LinearResponse`; any
other network with a feature layer is a `GradientResponse`; a network that makes class maps by itself (SEAM,
fully convolutional heads, background outputs) is a `DenseResponse`.

Shapes: B rows (pictures, flips), K classes, F channels, (h, w) positions of the feature layer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from advcam.errors import ModelError


class Response(ABC):
    """The answer of a network to a batch.

    Args:
        scores: Class scores before softmax or sigmoid, (B, K): what is climbed.
        competing: Which classes compete in the other-class term, (K,) bool; None means all. A background output
            is no competitor.
    """

    #: Number of positive weights of each class (method.md K+), (K,); None where the map is not linear with
    #: fixed weights, so that the published normaliser is not defined.
    positive_weights: Tensor | None = None

    def __init__(self, scores: Tensor, competing: Tensor | None = None) -> None:
        self.scores = _at_least_float32(scores)
        self.competing = competing

    @abstractmethod
    def class_map(self, classes: Tensor) -> Tensor:
        """Signed class map of class classes[b] in row b, (B, h, w), without bias: watched by the regulariser."""

    def accumulated_map(self, classes: Tensor) -> Tensor | None:
        """The map that is added up along the climb, (B, h', w'), signed; None where it is the class map."""
        return None

    def score_maps(self) -> Tensor:
        """Maps of all classes WITH bias, (B, K, h, w), whose mean is the score (needed by the ReLU-GAP score).

        Raises:
            ModelError: The network has no such maps.
        """
        raise ModelError(
            'score="relu_gap" (variant="published") needs a map for each class whose mean is the score, which only '
            'global average pooling + linear heads have; use score="logit"'
        )

    def features(self) -> Tensor:
        """Activations of the feature layer, (B, F, h, w).

        Raises:
            ModelError: The network shows class maps only.
        """
        raise ModelError("this network gives class maps but no feature layer; use CAM or AdvCAM")

    def feature_gradient(self, classes: Tensor) -> Tensor:
        """Gradient of score classes[b] at the feature layer, (B, F, h, w), detached.

        Raises:
            ModelError: The network shows class maps only.
        """
        raise ModelError("this network gives class maps but no feature layer; use CAM or AdvCAM")


class LayerResponse(Response):
    """A response with a feature layer.

    Args:
        scores: (B, K).
        layer: Output of the feature layer as the network made it, part of the graph of `scores`.
        to_grid: Rearranges `layer` (and its gradient) to (B, F, h, w).
    """

    def __init__(self, scores: Tensor, layer: Tensor, to_grid: Callable[[Tensor], Tensor]) -> None:
        super().__init__(scores)
        self.layer = layer
        self.to_grid = to_grid

    def features(self) -> Tensor:
        """Activations of the feature layer in float32 or better, (B, F, h, w)."""
        return _at_least_float32(self.to_grid(self.layer))

    def feature_gradient(self, classes: Tensor) -> Tensor:
        """Gradient of score classes[b] at the feature layer, (B, F, h, w), detached."""
        score = self.scores.gather(1, classes[:, None]).sum()
        # The graph is kept: a climb goes on to differentiate the same forward pass with respect to the picture.
        (gradient,) = torch.autograd.grad(score, self.layer, retain_graph=True)
        return _at_least_float32(self.to_grid(gradient)).detach()


class LinearResponse(LayerResponse):
    """Global average pooling + linear head: the class map is W f (Zhou et al. 2016), no second backward.

    The bias is part of the score and not of the map: it is the same at every position, so it says nothing of where.

    Args:
        scores: (B, K).
        layer: Output of the feature layer.
        to_grid: Rearranges `layer` to (B, F, h, w).
        weight: Of the head, (K, F).
        bias: Of the head, (K,), or None.
        rectified: Whether a ReLU lies between the feature layer and the pooling (DenseNet).
    """

    def __init__(
        self,
        scores: Tensor,
        layer: Tensor,
        to_grid: Callable[[Tensor], Tensor],
        weight: Tensor,
        bias: Tensor | None,
        rectified: bool = False,
    ) -> None:
        super().__init__(scores, layer, to_grid)
        features = self.features()
        self.weight = weight.to(features.dtype)
        self.bias = None if bias is None else bias.to(features.dtype)
        self.pooled_features = features.relu() if rectified else features
        self.positive_weights = (weight > 0).sum(dim=1)

    def class_map(self, classes: Tensor) -> Tensor:
        """W f without bias, (B, h, w)."""
        return torch.einsum("bfhw,bf->bhw", self.pooled_features, self.weight[classes])

    def score_maps(self) -> Tensor:
        """W f + b for all classes, (B, K, h, w)."""
        return functional.conv2d(self.pooled_features, self.weight[:, :, None, None], self.bias)


class GradientResponse(LayerResponse):
    """Any other head: the class map is sum_k alpha_k f_k with alpha_k = sum_i d y_c / d f_ki, held constant.

    For GAP + linear this is W f exactly; elsewhere it is Grad-CAM before its ReLU, without the division by the
    number of positions, so that maps of several scales are comparable.
    """

    def class_map(self, classes: Tensor) -> Tensor:
        """Grad-CAM's weighted sum, signed, (B, h, w); differentiable through the features only."""
        weights = self.feature_gradient(classes).sum(dim=(2, 3))
        return torch.einsum("bfhw,bf->bhw", self.features(), weights)


class DenseResponse(Response):
    """A network that makes its own class maps.

    Args:
        maps: Class maps that are watched, (B, K, h, w), signed.
        accumulated: Class maps that are added up, (B, K, h', w'); None takes `maps`. For SEAM: maps before its pixel
            correlation module are watched and climbed, maps after it are added up (AdvCAM#8).
        scores: (B, K); None takes the mean of `maps`.
        competing: (K,) bool, False for background outputs.
        positive_weights: (K,), if the published normaliser shall be usable.
    """

    def __init__(
        self,
        maps: Tensor,
        accumulated: Tensor | None = None,
        scores: Tensor | None = None,
        competing: Tensor | None = None,
        positive_weights: Tensor | None = None,
    ) -> None:
        maps = _at_least_float32(maps)
        super().__init__(maps.mean(dim=(2, 3)) if scores is None else scores, competing)
        self.maps = maps
        self.accumulated = None if accumulated is None else _at_least_float32(accumulated)
        self.positive_weights = positive_weights

    def class_map(self, classes: Tensor) -> Tensor:
        """The network's map of each row's class, (B, h, w)."""
        return self.maps[torch.arange(len(classes), device=classes.device), classes]

    def accumulated_map(self, classes: Tensor) -> Tensor | None:
        """The network's final map of each row's class, (B, h', w')."""
        if self.accumulated is None:
            return None
        return self.accumulated[torch.arange(len(classes), device=classes.device), classes]

    def score_maps(self) -> Tensor:
        """The network's maps, (B, K, h, w)."""
        return self.maps


class Network(Protocol):
    """What the methods need from a classifier; `advcam.Classifier` is one, a stub in a test another."""

    def respond(self, inputs: Tensor) -> Response:
        """Answer to normalised pictures (B, 3, H, W), on the graph of `inputs` where they require a gradient."""


#: What to keep of a climb: nothing but its result, the map and scores of each step, or the pictures too.
Record = Literal["none", "maps", "all"]


@dataclass(frozen=True)
class ScaleMaps:
    """What a method makes of N triples at one scale.

    Args:
        total: Sum of the maps, rectified, not normalised, (N, h, w).
        scores: Scores of all classes at each recorded step, mean over the views, (S, N, K); S = 1 (the unperturbed
            picture) unless the steps were recorded.
        maps: Map of each step, (S, N, h, w), or None.
        inputs: The perturbed, normalised picture (unmirrored view) at each step, (S, N, 3, H, W), or None.
        count: How many maps `total` adds up: T + 1 of a climb, 1 of a method without steps.
    """

    total: Tensor
    scores: Tensor
    maps: Tensor | None = None
    inputs: Tensor | None = None
    count: int = 1

    def cpu(self) -> "ScaleMaps":
        """The same on the CPU: one transfer a batch, after which nothing waits for the device."""
        return replace(self, total=self.total.cpu(), scores=self.scores.cpu())


def join_views(maps: Tensor, shape: torch.Size) -> Tensor:
    """Sum the maps of the views of each triple, the mirrored one mirrored back: (N * V, h, w) to (N, h, w)."""
    views = maps.reshape(*shape, *maps.shape[1:])
    return views[:, 0] + views[:, 1].flip(-1) if shape[1] == 2 else views[:, 0]


def mean_scores(response: Response, shape: torch.Size) -> Tensor:
    """Scores of each triple, mean over its views, detached: (N * V, K) to (N, K)."""
    return response.scores.detach().reshape(*shape, -1).mean(dim=1)


def _at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision is for the network only: maps, scores and steps are float32 or float64 (method.md 7)."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
