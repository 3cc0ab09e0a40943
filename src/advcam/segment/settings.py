"""Settings of the training of a segmentation network, on top of those of the loop."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from advcam.segment.network import NetworkSettings
from advcam.segment.objective import ObjectiveSettings
from advcam.segment.semi.cct import CCTSettings
from advcam.segment.semi.unimatch import UniMatchSettings
from advcam.training.schedule import OptimizerName, Polynomial
from advcam.training.settings import LoopSettings


class SemiSettings(BaseModel):
    """Semi-supervised training: few strong masks, and weak ones or none for all other pictures.

    Args:
        method: "cct" (Ouali, Hudelot, Tami, CVPR 2020) or "unimatch" (Yang et al., CVPR 2023).
        cct, unimatch: Constants of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["cct", "unimatch"] = "unimatch"
    cct: CCTSettings = CCTSettings()
    unimatch: UniMatchSettings = UniMatchSettings()


class SegmenterSettings(LoopSettings):
    """Everything that decides a segmentation network. Settings of the loop (`epochs`, `batch_size`, `seed` ..) too.

    Args:
        network: Which network.
        objective: Its loss, and what is kept.
        crop: Side of the inputs in pixels.
        scales: Pictures are enlarged by a factor drawn evenly between these two.
        lr: Learning rate of the pretrained layers.
        head_multiplier: Learning rate of the head as a multiple of it; of its biases, twice that (DeepLab: 10 and 20).
        weight_decay: Of all parameters but the biases of the head.
        optimizer: See `create_optimizer`.
        warmup: Epochs in which the learning rate rises; it falls by the polynomial schedule (power 0.9).
        semi: Semi-supervised training; None: every mask is trusted alike.
    """

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=8, ge=1)
    network: NetworkSettings = NetworkSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    crop: int = Field(default=320, ge=32)
    scales: tuple[float, float] = (0.5, 2.0)
    lr: float = Field(default=3e-4, gt=0)
    head_multiplier: float = Field(default=10.0, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    optimizer: OptimizerName = "adamw"
    warmup: float = Field(default=0.0, ge=0)
    semi: SemiSettings | None = None

    @model_validator(mode="after")
    def _fits(self) -> "SegmenterSettings":
        low, high = self.scales
        if not 0 < low <= high:
            raise ValueError(f"scales are a lower and a higher factor above 0; got {low:g} and {high:g}")
        if self.network.head.startswith("smp/") and self.crop % 32:
            raise ValueError(f"{self.network.head} takes a crop that 32 divides; got {self.crop}")
        if self.semi is not None and self.semi.method == "unimatch" and self.objective.multi_scale:
            raise ValueError("UniMatch sees each picture at one scale; switch objective.multi_scale off")
        return self

    def schedule_of(self) -> Polynomial:
        """The schedule of the learning rate."""
        return Polynomial(warmup=self.warmup)
