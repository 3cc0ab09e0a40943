"""UniMatch: what a network answers on a weakly augmented picture is what it has to answer on a strongly augmented one.

Yang, Qi, Feng, Zhang, Shi, "Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic Segmentation", CVPR 2023:

    L = ( L_x + w_weak L_weak + 1/4 L_s1 + 1/4 L_s2 + 1/2 L_fp ) / 2

L_x is the supervised loss of pictures with true masks. The others are of pictures without: L_s1 and L_s2 of two strong
views, mixed by CutMix, L_fp of the weak view's features with half of their channels dropped. Their targets are the
classes that the weak view is given with a confidence of at least 0.95; such a loss is a sum over the pixels with a
target, divided by the number of ALL pixels inside the picture, so that it grows as the network becomes confident.

Ours, and not of the paper:

- Image labels are known: a pseudo-label is one of the picture's own classes or background.
- L_weak, the supervised loss of the weak view with a mask that was made from the image labels.

Deviations from the published code:

- A picture is mixed with the one before it in the batch, where the published code draws a second batch to mix with and
  computes one more pass for its pseudo-labels. With a batch of one nothing is mixed.
- Those of the partner are made in training mode like all others, where the published code makes them in evaluation
  mode. Only dropout of the network's own, and batch normalisations that are not frozen, tell the difference.
- Each picture is divided by its own pixels, and the mean is over the pictures. So but for the partner in CutMix (and
  statistics that are not frozen) a loss does not depend on how a batch is cut into passes.
- All views go through the network at once. The published code takes two passes; on a CPU it costs the same.
- Scores are enlarged with corners not aligned, as everywhere here; the published code aligns them.
"""

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from advcam.errors import SettingError
from advcam.segment.network import SegmentationNetwork
from advcam.segment.objective import ObjectiveSettings, SegmentationObjective, channels_last
from advcam.types import IGNORE


class UniMatchSettings(BaseModel):
    """Of the loss of pictures without true masks; the defaults are the published ones but for the last two.

    Args:
        confidence: Probability from which on the class of a pixel is a target.
        strong_weight: Of each of the two strong views.
        perturbed_weight: Of the weak view with perturbed features.
        dropout: Share of the feature channels that are dropped.
        image_labels: A pseudo-label is a class that the image labels allow, and its confidence is a share among these
            alone. The labels are known and true, so no pixel is taught an absent class. More pixels are confident than
            without, which also holds for errors between the classes that are left.
        weak_weight: Of the mask that was made from image labels; 0 leaves it out. CCT gives such masks 0.4; with few
            true masks as much as these have is better (docs/segmentation.md).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float = Field(default=0.95, ge=0, le=1)
    strong_weight: float = Field(default=0.25, ge=0)
    perturbed_weight: float = Field(default=0.5, ge=0)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    image_labels: bool = True
    weak_weight: float = Field(default=1.0, ge=0)


class UniMatchObjective(SegmentationObjective):
    """A network with the loss of UniMatch.

    Args:
        network: The network.
        settings: Of the supervised loss.
        semi: Of the loss of pictures without true masks.

    Raises:
        SettingError: A supervised loss over several scales, which UniMatch does not have.
    """

    def __init__(self, network: SegmentationNetwork, settings: ObjectiveSettings, semi: UniMatchSettings) -> None:
        if settings.multi_scale:
            raise SettingError("UniMatch sees each picture at one scale; switch multi_scale off")
        super().__init__(network, settings)
        self.semi = semi

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean loss of N pairs of pictures, ().

        Args:
            batch: `pictures`, `weak_pictures`, `strong_pictures_1` and `strong_pictures_2` (N, 3, H, W); `masks` and
                `weak_masks` (N, H, W), class numbers or 255; `weights` (N,) of the masks; `labels` (N, C), bool, the
                classes that may occur in the weak picture; and (N, H, W), bool: `inside`, the pixels of the weak
                picture that are not padded, `cutmix_1` and `cutmix_2`, those that another replaces in a strong view.
        """
        semi, inside, boxes = self.semi, batch["inside"], (batch["cutmix_1"], batch["cutmix_2"])
        strong = [cutmix(batch[f"strong_pictures_{n}"], box[:, None]) for n, box in enumerate(boxes, 1)]
        true, weak, perturbed, *mixed = self._answers_of(batch["pictures"], batch["weak_pictures"], *strong)
        labels = batch["labels"] if semi.image_labels else torch.ones_like(batch["labels"])
        targets = pseudo_labels(weak, labels, inside, semi.confidence)
        total = self.supervised(true, batch["masks"], batch["weights"])
        if semi.weak_weight:
            total = total + semi.weak_weight * self.supervised(weak, batch["weak_masks"])
        total = total + semi.perturbed_weight * consistency(perturbed, targets, inside)
        for logits, box in zip(mixed, boxes, strict=True):
            total = total + semi.strong_weight * consistency(logits, cutmix(targets, box), cutmix(inside, box))
        return total / 2

    def _answers_of(self, true: Tensor, weak: Tensor, *strong: Tensor) -> tuple[Tensor, ...]:
        """Scores (N, C, h, w) of the true, the weak, the weak with perturbed features, and the strong pictures."""
        count = len(true)
        features = self.network.encode(channels_last(torch.cat([true, weak, *strong])))
        dropped = [functional.dropout2d(f[count : 2 * count], self.semi.dropout, self.training) for f in features]
        logits = self.network.decode([torch.cat(both) for both in zip(features, dropped, strict=True)])
        of_true, of_weak, *of_strong, of_perturbed = torch.split(logits, count)
        return of_true, of_weak, of_perturbed, *of_strong


@torch.no_grad()
def pseudo_labels(logits: Tensor, labels: Tensor, inside: Tensor, confidence: float) -> Tensor:
    """The most probable allowed class of each pixel, (N, H, W), integers; 255 where it is not confident or padded.

    Args:
        logits: (N, C, h, w), enlarged to (H, W).
        labels: (N, C), bool, at least one class in each picture: the classes that are allowed.
        inside: (N, H, W), bool: the pixels that are not padded.
        confidence: Least probability, in [0, 1].
    """
    allowed = _enlarged(logits, inside).masked_fill(~labels[:, :, None, None], -torch.inf)
    probability, classes = allowed.softmax(dim=1).max(dim=1)
    return classes.masked_fill(~inside | (probability < confidence), IGNORE)


def cutmix(images: Tensor, boxes: Tensor) -> Tensor:
    """Inside its box, each of N images shows what the one before it in the batch shows there, and the first the last.

    Args:
        images: (N, H, W) or (N, C, H, W).
        boxes: (N, H, W) or (N, 1, H, W), bool.
    """
    return images.roll(1, dims=0).where(boxes, images)


def consistency(logits: Tensor, targets: Tensor, inside: Tensor) -> Tensor:
    """Cross-entropy over the pixels with a target, as a share of all pixels inside; mean over the pictures, ().

    Args:
        logits: (N, C, h, w), enlarged to (H, W).
        targets: (N, H, W), class numbers or 255.
        inside: (N, H, W), bool: the pixels that are not padded.
    """
    losses = functional.cross_entropy(_enlarged(logits, targets), targets, ignore_index=IGNORE, reduction="none")
    # A picture that is padded all over has no target either, and adds 0.
    return (losses.sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)).mean()


def _enlarged(logits: Tensor, pixels: Tensor) -> Tensor:
    """Scores at the size of pixels (N, H, W), in float32."""
    return functional.interpolate(logits.float(), size=pixels.shape[-2:], mode="bilinear", align_corners=False)
