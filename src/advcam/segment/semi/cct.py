"""CCT: auxiliary decoders must answer on damaged features what the main decoder answers on whole ones.

Ouali, Hudelot, Tami, "Semi-Supervised Semantic Segmentation with Cross-Consistency Training", CVPR 2020. Pictures with
true masks train the main decoder. On all others the loss of the auxiliary decoders trains them and, through the
features, the encoder; the main decoder learns nothing there, it only gives the targets (equation 2). Weak masks, made
of image labels, are learned by the auxiliary decoders and the encoder; there AdvCAM's masks take the place of the
published ones.

    loss = supervised + w(t) (30 * consistency + 0.4 * weak),    w(t) = exp(-5 (1 - t)²) up to t = 1

This is what the published code computes: both terms are means over all auxiliary decoders, and the ramp w holds for
the weak masks too. Deviations:

- The supervised loss is that of `SegmentationObjective`. The annealed bootstrapped cross-entropy of the paper is not
  built: the published configuration takes plain cross-entropy, which its author advises too (yassouali/CCT#15).
- The published main decoder is an auxiliary one without perturbation, on 512 channels of a PSP module. Here it is the
  network's own, and auxiliary decoders stand on the deepest features of `SegmentationNetwork.encode`.
- Answers are compared at the resolution of the auxiliary decoders, to which those of the main one are enlarged, and
  weak masks reduced. With the published `upscale` of 8 and features at stride 8 that is the size of the picture.
- Pixels that are padded count nowhere, and each picture weighs the same, however many of its pixels are known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from typing import Literal, Self, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from advcam.segment.losses import cross_entropy
from advcam.segment.network import SegmentationNetwork
from advcam.segment.objective import ObjectiveSettings, SegmentationObjective, channels_last
from advcam.segment.semi.decoders import AuxiliaryDecoder
from advcam.segment.semi.perturbations import (
    dropout,
    feature_drop,
    feature_noise,
    guided_cutout,
    mask_context,
    mask_objects,
    object_boxes,
    virtual_adversarial,
)

Perturbation = Literal["vat", "dropout", "cutout", "context_masking", "object_masking", "feature_drop", "feature_noise"]
PERTURBATIONS: tuple[Perturbation, ...] = get_args(Perturbation)


class CCTSettings(BaseModel):
    """Constants of CCT; the defaults are those of the published configuration, but that weak masks are used.

    With one decoder of each kind and `upscale` 1 a step is affordable on a laptop.

    Args:
        vat, dropout, cutout, context_masking, object_masking, feature_drop, feature_noise: Number of auxiliary decoders
            with each perturbation; see `advcam.segment.semi.perturbations`. At least one in all.
        unsupervised_weight: Of the consistency.
        weak_weight: Of the weak masks; 0 leaves them out.
        ramp_up: Share of the training in which the weight of both rises.
        upscale: How much finer the answers of auxiliary decoders are than the features: a power of two.
        dropout_rate: Share of the channels that spatial dropout removes.
        cutout_share: Width and height of a cutout, as a share of the object's box.
        vat_radius: L2 norm of the adversarial perturbation of a picture's features, ε.
        drop_range: Of the threshold γ of the feature dropout.
        noise_extent: The feature noise is uniform in [-extent, extent].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vat: int = Field(default=2, ge=0)
    dropout: int = Field(default=6, ge=0)
    cutout: int = Field(default=6, ge=0)
    context_masking: int = Field(default=2, ge=0)
    object_masking: int = Field(default=2, ge=0)
    feature_drop: int = Field(default=6, ge=0)
    feature_noise: int = Field(default=6, ge=0)
    unsupervised_weight: float = Field(default=30.0, ge=0)
    weak_weight: float = Field(default=0.4, ge=0)
    ramp_up: float = Field(default=0.1, ge=0, le=1)
    upscale: Literal[1, 2, 4, 8, 16, 32] = 8
    dropout_rate: float = Field(default=0.5, ge=0, lt=1)
    cutout_share: float = Field(default=0.4, ge=0, le=1)
    vat_radius: float = Field(default=2.0, ge=0)
    drop_range: tuple[float, float] = (0.6, 0.9)
    noise_extent: float = Field(default=0.3, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not any(self.counts.values()):
            raise ValueError("CCT needs at least one auxiliary decoder; give one of the seven kinds a number")
        low, high = self.drop_range
        if not 0 <= low <= high <= 1:
            raise ValueError(f"drop_range is a lower and a higher share, 0 to 1; got {low:g} and {high:g}")
        return self

    @property
    def counts(self) -> dict[Perturbation, int]:
        """Number of decoders of each kind."""
        return {kind: getattr(self, kind) for kind in PERTURBATIONS}


@dataclass(frozen=True, eq=False)
class _Targets:
    """What the auxiliary decoders are told of N weak pictures, at their own resolution (H, W).

    Args:
        probabilities: Of the main decoder, (N, C, H, W), without gradient.
        inside: Pixels that are not padded, (N, H, W), bool.
        masks: Weak masks, (N, H, W), class numbers or 255.
        foreground: Where the main decoder sees an object, (N, H, W), bool.
        boxes: Of these objects, as of `object_boxes`.
    """

    probabilities: Tensor
    inside: Tensor
    masks: Tensor
    foreground: Tensor
    boxes: Tensor


class CCTObjective(SegmentationObjective):
    """A network with the loss of CCT. The auxiliary decoders are parameters of the objective, not of the network.

    They start at random, from PyTorch's global generator.

    Args:
        network: The network.
        settings: Of the supervised loss.
        semi: Of the loss of pictures without true masks.
    """

    def __init__(
        self, network: SegmentationNetwork, settings: ObjectiveSettings, semi: CCTSettings | None = None
    ) -> None:
        super().__init__(network, settings)
        self.semi = semi or CCTSettings()
        channels = network.feature_channels[-1]
        self.kinds = [kind for kind, count in self.semi.counts.items() for _ in range(count)]
        self.decoders = nn.ModuleList(
            AuxiliaryDecoder(channels, network.num_classes, self.semi.upscale) for _ in self.kinds
        )

    def auxiliary_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the auxiliary decoders, all of which start at random."""
        return self.decoders.parameters()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean loss of N pairs of pictures, ().

        One auxiliary decoder after the other, and its activations are computed again in the backward pass: so the
        memory is that of one, where 30 of them would hold gigabytes at the size of the picture.

        Args:
            batch: `pictures` and `weak_pictures` (N, 3, H, W); `masks` and `weak_masks` (N, H, W), class numbers or
                255; `weights` (N,) of the masks; `inside` (N, H, W), bool, the pixels of the weak picture that are not
                padded.
        """
        supervised = super().forward(batch)
        features = self.network.encode(channels_last(batch["weak_pictures"]))
        targets = self._targets(features, batch["weak_masks"], batch["inside"])
        total = torch.zeros_like(supervised)
        for kind, decoder in zip(self.kinds, self.decoders, strict=True):
            perturbed = self._perturbed(kind, features[-1], decoder, targets)
            loss: Tensor = checkpoint(
                self._auxiliary_loss, decoder, perturbed, targets, use_reentrant=False, preserve_rng_state=False
            )
            total = total + loss
        return supervised + ramp(self.share, self.semi.ramp_up) * total / len(self.decoders)

    @torch.no_grad()
    def _targets(self, features: list[Tensor], masks: Tensor, inside: Tensor) -> _Targets:
        size = [side * self.semi.upscale for side in features[-1].shape[-2:]]
        logits = self.network.decode(features).float()
        probabilities = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False).softmax(dim=1)
        inside, masks = _nearest(inside, size), _nearest(masks, size)
        foreground = inside & (probabilities.argmax(dim=1) > 0)
        return _Targets(probabilities, inside, masks, foreground, object_boxes(foreground))

    def _perturbed(self, kind: Perturbation, features: Tensor, decoder: nn.Module, targets: _Targets) -> Tensor:
        semi = self.semi
        match kind:
            case "vat":
                return virtual_adversarial(features, decoder, targets.inside, semi.vat_radius)
            case "dropout":
                return dropout(features, semi.dropout_rate)
            case "cutout":
                return guided_cutout(features, targets.boxes, semi.cutout_share)
            case "context_masking":
                return mask_context(features, targets.foreground)
            case "object_masking":
                return mask_objects(features, targets.foreground)
            case "feature_drop":
                return feature_drop(features, *semi.drop_range)
            case "feature_noise":
                return feature_noise(features, semi.noise_extent)

    def _auxiliary_loss(self, decoder: nn.Module, perturbed: Tensor, targets: _Targets) -> Tensor:
        logits = decoder(perturbed).float()
        loss = self.semi.unsupervised_weight * consistency(logits, targets.probabilities, targets.inside)
        if self.semi.weak_weight:
            loss = loss + self.semi.weak_weight * cross_entropy(logits, targets.masks)
        return loss


def consistency(logits: Tensor, probabilities: Tensor, inside: Tensor) -> Tensor:
    """Mean squared error of the softmax (equation 2): over classes and pixels inside, then over pictures; ().

    Args:
        logits: Of an auxiliary decoder, (N, C, H, W).
        probabilities: Of the main one, (N, C, H, W), without gradient.
        inside: Pixels that are not padded, (N, H, W), bool. A picture without any adds 0.
    """
    errors = (logits.softmax(dim=1) - probabilities).square().mean(dim=1)
    return ((errors * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)).mean()


def ramp(share: float, length: float) -> float:
    """exp(-5 (1 - t)²) with t = share / length, and 1 from t = 1 on (Laine, Aila, ICLR 2017).

    Args:
        share: How much of the training is done, 0 to 1.
        length: Share in which the weight rises; 0: it does not.
    """
    return exp(-5 * (1 - share / length) ** 2) if share < length else 1.0


def _nearest(values: Tensor, size: list[int]) -> Tensor:
    """Bools or class numbers (N, H, W) at another size."""
    resized = functional.interpolate(values[:, None].float(), size=size, mode="nearest-exact")
    return resized[:, 0].to(values.dtype)
