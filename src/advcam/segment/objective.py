"""What training a segmentation network means: the loss of masks, frozen statistics, an average of the weights."""

import copy
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from advcam.segment.losses import balanced_cross_entropy, cross_entropy
from advcam.segment.network import SegmentationNetwork
from advcam.training.objective import Objective

#: Scales of the pictures in the loss over several of them (kazuto1011/deeplab-pytorch).
_LOSS_SCALES = (1.0, 0.75, 0.5)
_LOSSES = {"cross-entropy": cross_entropy, "balanced": balanced_cross_entropy}


class ObjectiveSettings(BaseModel):
    """Of the loss, and of what is kept.

    Args:
        loss: "cross-entropy", or "balanced": background and foreground weigh the same in each picture, as the author of
            AdvCAM trains (DSRG).
        bootstrap: Share of the target that the network's own answer takes the place of, against wrong labels (Reed et
            al., 2015); 0: none.
        multi_scale: The loss of three scales of each picture and of their maximum (DeepLabV2), at twice the cost.
        average: Decay of the moving average of the weights, which is kept in place of the last ones; 0: none.
        frozen_statistics: Batch normalisations of the backbone keep their stored statistics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["cross-entropy", "balanced"] = "cross-entropy"
    bootstrap: float = Field(default=0.0, ge=0, lt=1)
    multi_scale: bool = False
    average: float = Field(default=0.0, ge=0, lt=1)
    frozen_statistics: bool = True


class SegmentationObjective(Objective):
    """A network with the loss of label masks.

    Args:
        network: The network.
        settings: Of the loss.
    """

    network: SegmentationNetwork
    updates: Tensor

    def __init__(self, network: SegmentationNetwork, settings: ObjectiveSettings) -> None:
        super().__init__(network)
        self.settings = settings
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.averaged = copy.deepcopy(network).requires_grad_(False) if settings.average else None

    @property
    def kept(self) -> SegmentationNetwork:
        """The average of the weights, where there is one."""
        return self.network if self.averaged is None else self.averaged

    def train(self, mode: bool = True) -> "SegmentationObjective":
        """Training mode, but for batch normalisations with frozen statistics, and for the average."""
        super().train(mode)
        if self.settings.frozen_statistics:
            for layer in self.network.encoder.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        if self.averaged is not None:
            self.averaged.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean loss of `pictures` (N, 3, H, W) with `masks` (N, H, W) and `weights` (N,); ()."""
        pictures, masks, weights = batch["pictures"], batch["masks"], batch["weights"]
        if not self.settings.multi_scale:
            return self.supervised(self.network(channels_last(pictures)), masks, weights)
        answers = self._answers(pictures)
        losses = [self.supervised(answer, masks, weights) for answer in (*answers, torch.stack(answers).amax(dim=0))]
        return torch.stack(losses).sum()

    def supervised(self, logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean over the pictures of the loss of scores (N, C, h, w) with masks (N, H, W); ()."""
        loss: Tensor = _LOSSES[self.settings.loss](logits, masks, weights, self.settings.bootstrap)
        return loss

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the average: by 1 - decay, and faster in the beginning, when the weights are not worth keeping."""
        if self.averaged is None:
            return
        self.updates += 1
        count = int(self.updates)
        decay = min(self.settings.average, (1 + count) / (10 + count))
        for mean, now in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def _answers(self, pictures: Tensor) -> list[Tensor]:
        """Scores of the picture at each scale, at the size of those of the whole one."""
        answers: list[Tensor] = []
        for scale in _LOSS_SCALES:
            resized = pictures
            if scale != 1:
                sides = [max(1, round(side * scale)) for side in pictures.shape[-2:]]
                resized = functional.interpolate(pictures, size=sides, mode="bilinear", align_corners=False)
            answer: Tensor = self.network(channels_last(resized))
            size = answers[0].shape[-2:] if answers else answer.shape[-2:]
            answers.append(functional.interpolate(answer, size=size, mode="bilinear", align_corners=False))
        return answers


def channels_last(pictures: Tensor) -> Tensor:
    """In the order of memory in which convolutions are faster."""
    return pictures.contiguous(memory_format=torch.channels_last)
