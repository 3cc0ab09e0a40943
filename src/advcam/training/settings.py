"""What the training loop is told, and what a user can set of a classifier's training."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from advcam.store.run import JSON
from advcam.training.augment import RECIPES, RecipeName
from advcam.training.network import Trained
from advcam.training.schedule import OptimizerName, Polynomial, Schedule, StepDecay


class LoopSettings(BaseModel):
    """What the loop itself is told; the settings of what is trained with it extend these.

    Args:
        epochs: Times that every picture is seen.
        batch_size: Pictures of one step of the optimiser, over ALL processes and passes, so that a recipe stays the
            same whatever it runs on.
        accumulate: Passes that each process divides its share of a batch into, for what does not fit into memory.
        drop_last: Leave out the last batch of an epoch where it is smaller (the published recipes do).
        precision: "auto" is bfloat16 where the device has instructions for it, else float32. Weights and their updates
            are float32 whatever is chosen. "float16" needs a GPU.
        seed: Decides order, augmentation and dropout.
        workers: Processes that read pictures; None: none on a CPU, up to 8 for a GPU.
        clip_gradient: Largest L2 norm of the gradient of a step; None: no limit.
        patience: Epochs without a higher metric after which the training stops; None: never.
        log_every: Steps from one report of progress to the next.
        save_minutes: Minutes from one state on disk to the next; also written after each epoch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)
    drop_last: bool = False
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    seed: int = Field(default=0, ge=0)
    workers: int | None = Field(default=None, ge=0)
    clip_gradient: float | None = Field(default=None, gt=0)
    patience: int | None = Field(default=None, ge=1)
    log_every: int = Field(default=10, ge=1)
    save_minutes: float = Field(default=5.0, ge=0)

    def deciding(self) -> dict[str, JSON]:
        """What decides the weights, as JSON; all of it must be the same for a training to be continued."""
        free = {"accumulate", "workers", "log_every", "save_minutes"}
        values: dict[str, JSON] = self.model_dump(mode="json", exclude=free)
        return values


class ClassifierSettings(LoopSettings):
    """Everything that a user can set of a classifier's training; the fields of `LoopSettings` too.

    Args:
        model: The network, as `advcam.load_classifier` takes it.
        weights: Pretrained weights of that network, with any number of classes: a file, "random", or None for the
            embedded ones.
        output_stride: 8, 16 or 32: finer maps than the network's own.
        kind: "multi-label" (any number of classes a picture), "single-label" (one), or "auto": single-label where every
            picture has exactly one label.
        augmentation: How pictures are prepared; see `advcam.training.augment`.
        crop: Side of the inputs in pixels; None takes the one that the augmentation was published with.
        lr: Learning rate of the pretrained layers. With "adamw" the same fits both kinds; with SGD a multi-label
            classifier needs a higher one (about 0.02), as its loss is a mean over the classes.
        head_multiplier: Learning rate of the new head as a multiple of it.
        weight_decay: Of all parameters.
        optimizer: See `create_optimizer`.
        schedule: "polynomial" (power 0.9) or "steps" (a tenth every `decay_every` epochs).
        decay_every: Epochs from one step to the next; None takes a third of the epochs.
        warmup: Epochs in which the learning rate rises linearly.
        trained: "mixture" (a new head as a sparse sum of pretrained outputs, fitted in a minute for hundreds of
            pictures; see `advcam.training.mixture`), "head" (a new head by gradient steps), "last" (the last third of
            the stages too) or "all". For "mixture", `epochs` are the times that every picture is looked at.
        mixture_penalty: For "mixture": the greater, the fewer pretrained outputs make a class.
        frozen_statistics: Batch normalisations keep the statistics of the pretraining, and the first stage is not
            trained (IRN, AdvCAM): batches are small, and a few pictures are not ImageNet. A network that starts at
            "random" needs False.
        class_weights: "balanced" makes up for rare classes, see `balanced_weights`.
        label_smoothing: Share of the target that is spread over all classes (single-label).
        allow_absent: A class that no picture shows is a warning, not an error (single-label).
    """

    model: str = "lite0"
    weights: Path | Literal["random"] | None = None
    output_stride: Literal[8, 16, 32] | None = None
    kind: Literal["auto", "multi-label", "single-label"] = "auto"
    augmentation: RecipeName = "resized-crop"
    crop: int | None = Field(default=None, ge=32)
    lr: float = Field(default=3e-4, gt=0)
    head_multiplier: float = Field(default=10.0, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    optimizer: OptimizerName = "adamw"
    schedule: Literal["polynomial", "steps"] = "polynomial"
    decay_every: int | None = Field(default=None, ge=1)
    warmup: float = Field(default=0.0, ge=0)
    trained: Trained = "all"
    mixture_penalty: float = Field(default=1e-3, ge=0)
    frozen_statistics: bool = True
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    allow_absent: bool = False

    @property
    def side(self) -> int:
        """Side of the inputs in pixels."""
        return self.crop or RECIPES[self.augmentation].crop

    def schedule_of(self) -> Schedule:
        """The schedule of the learning rate."""
        if self.schedule == "polynomial":
            return Polynomial(warmup=self.warmup)
        return StepDecay(self.decay_every or max(1, self.epochs // 3), warmup=self.warmup)
