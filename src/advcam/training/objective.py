"""What a training minimises: a network with its loss."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class WholeBatch:
    """What a pass knows of the whole batch of its step, over all passes and processes.

    Args:
        pictures: How many.
        counts: The sum of `Objective.counts` over them, (k,).
    """

    pictures: int
    counts: Tensor


class Objective(nn.Module, ABC):
    """What is minimised: a network with its loss.

    A pass sees a part of a batch, and the loss of the batch is the mean of the losses of its parts, weighted by their
    pictures. So a loss that is a mean over pictures is the same however a batch is divided. One that divides by other
    numbers (pairs, pixels of a batch) counts them in `counts` and divides by those of `whole`.

    Args:
        network: What is trained; its weights alone are kept as the best ones, or those of `kept`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        #: Share of the training that is done, in [0, 1); set before each step.
        self.share = 0.0
        #: Set before each step, for objectives that count; None outside of the loop: the batch is whole.
        self.whole: WholeBatch | None = None

    @abstractmethod
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a batch, a mean over its pictures, ()."""

    def counts(self, batch: dict[str, Tensor]) -> Tensor | None:
        """Numbers that the loss divides by, besides that of the pictures, (k,), integers; None: there are none."""
        return None

    @property
    def kept(self) -> nn.Module:
        """The network whose weights are kept: the trained one, or an average of it."""
        return self.network

    def after_step(self) -> None:
        """Called after each step of the optimiser."""
