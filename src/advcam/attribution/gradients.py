"""The methods without a climb: CAM, Grad-CAM, Grad-CAM++, LayerCAM.

All are sums over the channels of the feature layer, rectified at the end. Constant factors that the papers put in front
(1 / number of positions) are left out, since a map is divided by its maximum after scales and flips are added up, and
without them the maps of several scales weigh alike.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from advcam.attribution.method import Batch, Classifier, Method
from advcam.attribution.response import Network, Record, Response, ScaleMaps, join_views, mean_scores
from advcam.errors import SettingError


class CAM(Method):
    """Class activation map: W f of a GAP + linear head, rectified (Zhou et al., CVPR 2016).

    For a head that is not linear in the features the class map is Grad-CAM's (see `Classifier.describe`).
    """

    name = "cam"
    title = "CAM"
    summary = "class activation map: where a linear head finds its evidence; one forward pass"

    def scale_maps(self, network: Network, batch: Batch, scale: float, record: Record) -> ScaleMaps:
        """See `Method.scale_maps`: one forward pass."""
        response = network.respond(batch.views.flatten(0, 1))

        def class_map(rows: Tensor) -> Tensor:
            accumulated = response.accumulated_map(rows)
            return response.class_map(rows) if accumulated is None else accumulated

        return unclimbed(response, batch, class_map)


class GradientMethod(Method):
    """A method that weights the features by the gradient of the class score at the feature layer.

    Raises:
        SettingError: `compiled`: a compiled pass answers scores and features side by side, without a way between them.
    """

    def __init__(self, classifier: Classifier, **settings: Any) -> None:  # noqa: ANN401, those of every method
        super().__init__(classifier, **settings)
        if self.compiled:
            raise SettingError(f"compiled serves CAM and AdvCAM; {self.title} needs the gradient at the feature layer")

    def scale_maps(self, network: Network, batch: Batch, scale: float, record: Record) -> ScaleMaps:
        """See `Method.scale_maps`: one forward pass, and one backward pass to the feature layer for each class."""
        response = network.respond(batch.views.flatten(0, 1))

        def class_map(rows: Tensor) -> Tensor:
            return self.weighted_features(response.features(), response.feature_gradient(rows))

        return unclimbed(response, batch, class_map)

    def passes(self, scale: float) -> int:
        """One forward and (part of) one backward pass."""
        return 2

    @abstractmethod
    def weighted_features(self, features: Tensor, gradient: Tensor) -> Tensor:
        """The signed map of each row, (B, h, w), from the features and the gradient there, both (B, F, h, w)."""


class GradCAM(GradientMethod):
    """Grad-CAM (Selvaraju et al., ICCV 2017): channels weighted by the summed gradient of the score."""

    name = "gradcam"
    title = "Grad-CAM"
    summary = "channels weighted by the gradient of the score"

    def weighted_features(self, features: Tensor, gradient: Tensor) -> Tensor:
        """sum_k (sum_i g_ki) f_k."""
        return torch.einsum("bfhw,bf->bhw", features, gradient.sum(dim=(2, 3)))


class GradCAMPlusPlus(GradientMethod):
    """Grad-CAM++ (Chattopadhay et al., WACV 2018), for the score exp(y_c).

    With it the second and third derivatives are powers of the first one (their Eq. 19), and
    alpha_ki = g_ki^2 / (2 g_ki^2 + sum_i f_ki * g_ki^3), weight_k = sum_i alpha_ki ReLU(g_ki). The common factor
    exp(y_c) of the weights is left out: it differs between flips and scales and would let one of them outweigh the
    others.
    """

    name = "gradcam++"
    title = "Grad-CAM++"
    summary = "Grad-CAM that counts each occurrence of an object alike"

    def weighted_features(self, features: Tensor, gradient: Tensor) -> Tensor:
        """sum_k w_k f_k with the weights of Grad-CAM++."""
        square = gradient.square()
        denominator = 2 * square + features.sum(dim=(2, 3), keepdim=True) * square * gradient
        alpha = square / denominator.where(denominator != 0, 1)
        weights = (alpha * gradient.relu()).sum(dim=(2, 3))
        return torch.einsum("bfhw,bf->bhw", features, weights)


class LayerCAM(GradientMethod):
    """LayerCAM (Jiang et al., TIP 2021): each position weighted by its own positive gradient."""

    name = "layercam"
    title = "LayerCAM"
    summary = "each position weighted by its own positive gradient; finer layers possible"

    def weighted_features(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Sum_k ReLU(g_ki) f_ki, times the number of positions, with which the gradient of a mean falls."""
        positions = gradient.shape[2] * gradient.shape[3]
        return (gradient.relu() * features).sum(dim=1) * positions


def unclimbed(response: Response, batch: Batch, class_map: Callable[[Tensor], Tensor]) -> ScaleMaps:
    """The maps of a method without steps: one answer of the network for all classes of its pictures.

    Args:
        response: To the P pictures with their V views.
        batch: The triples.
        class_map: Signed maps (P * V, h, w) of one class for each row (P * V,).
    """
    shape = batch.views.shape[:2]
    owners = torch.tensor(batch.pictures, device=batch.classes.device)
    maps: list[Tensor | None] = [None] * len(owners)
    for triples in _by_turn(batch.pictures):
        # A picture that has no further class goes along with some class; its map is not looked at.
        asked = batch.classes[:1].repeat(shape[0])
        asked[owners[triples]] = batch.classes[triples]
        found = join_views(class_map(asked.repeat_interleave(shape[1])).relu(), shape).detach()
        for n in triples:
            maps[n] = found[batch.pictures[n]]
    total = torch.stack([one for one in maps if one is not None])
    return ScaleMaps(total, mean_scores(response, shape)[owners][None])


def _by_turn(pictures: Sequence[int]) -> list[list[int]]:
    """Triples by whether they are the first, second ... of their picture."""
    seen, turns = Counter[int](), list[list[int]]()
    for n, picture in enumerate(pictures):
        if seen[picture] == len(turns):
            turns.append([])
        turns[seen[picture]].append(n)
        seen[picture] += 1
    return turns
