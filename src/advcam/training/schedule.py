"""Learning rates over the steps of a training, groups of parameters, and optimisers by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import nn

from advcam.errors import SettingError

OptimizerName = Literal["sgd", "nesterov", "sgd-published", "adamw"]
#: A group of parameters as the optimisers of PyTorch take it, with the `multiplier` of its learning rate.
Group = dict[str, Any]
_MOMENTUM = 0.9


class Schedule(Protocol):
    """Learning rate of a step as a multiple of the one that was set; a function of the step's number, no state."""

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Factor at a step, counted from 0 over the whole training."""
        ...


@dataclass(frozen=True)
class Polynomial:
    """(1 - step / steps) ** power, falling with every step; the schedule of DeepLab, IRN and AdvCAM.

    Args:
        power: 0 keeps the learning rate.
        warmup: Epochs in which the factor rises linearly from near 0, as a multiple of the falling one.
    """

    power: float = 0.9
    warmup: float = 0.0

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Factor at a step."""
        left = 1 - step / (steps_per_epoch * epochs)
        return float(left**self.power) * _warm(step, steps_per_epoch, self.warmup)


@dataclass(frozen=True)
class StepDecay:
    """Multiplied by a factor every few epochs; the schedule of the WSOL evaluation (Choe et al., CVPR 2020).

    Args:
        every: Epochs from one fall to the next.
        factor: Of each fall.
        warmup: Epochs in which the factor rises linearly from near 0.
    """

    every: int
    factor: float = 0.1
    warmup: float = 0.0

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Factor at a step."""
        falls = step // (self.every * steps_per_epoch)
        return float(self.factor**falls) * _warm(step, steps_per_epoch, self.warmup)


def parameter_groups(
    network: nn.Module,
    new_layers: Sequence[str],
    *,
    lr: float,
    multiplier: float = 10.0,
    weight_decay: float = 0.0,
) -> list[Group]:
    """The trained parameters of a network in two groups: the pretrained ones, and the new layers that learn faster.

    Weight decay is an entry of each group, so that no order of arguments can lose it.

    Args:
        network: Parameters with requires_grad False are left out.
        new_layers: Names of parameters, or of modules that hold them.
        lr: Learning rate of the pretrained parameters.
        multiplier: Learning rate of the new layers as a multiple of `lr` (published recipes: 10).
        weight_decay: Of all parameters, norms and biases included, as in the published recipes.

    Raises:
        SettingError: A new layer is not in the network, or nothing is trained.
    """
    names = [name for name, _ in network.named_parameters()]
    for layer in new_layers:
        if not any(_belongs(name, layer) for name in names):
            raise SettingError(f"the network has no layer {layer!r}; its parameters are {', '.join(names[:5])} ..")
    groups: list[Group] = []
    trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
    for new, factor in ((False, 1.0), (True, multiplier)):
        values = [v for name, v in trained.items() if any(_belongs(name, layer) for layer in new_layers) == new]
        if values:
            groups.append({"params": values, "lr": lr * factor, "weight_decay": weight_decay, "multiplier": factor})
    if not groups:
        raise SettingError("no parameter of the network is trained; set requires_grad of those that are")
    return groups


def create_optimizer(name: OptimizerName, groups: Sequence[Group]) -> torch.optim.Optimizer:
    """An optimiser over groups that carry their own learning rate and weight decay.

    Args:
        name: "sgd", momentum 0.9. "nesterov", Nesterov momentum 0.9 (WSOL recipes). "adamw". "sgd-published", SGD as
            the code of IRN and AdvCAM really runs it: its PolyOptimizer calls `SGD(params, lr, weight_decay)`, where
            the third argument of SGD is the momentum. So the momentum is the weight decay, 1e-4, in effect none; the
            0.9 of that class is the power of the learning rate. The weight decay itself still acts, as each group
            names it. The published learning rate of 0.1 belongs to this; with a momentum of 0.9 a step is ten times
            as long in the end, so about 0.01 takes its place.
        groups: See `parameter_groups`.

    Raises:
        SettingError: Another name.
    """
    if name == "sgd-published":
        return torch.optim.SGD(groups, momentum=groups[0]["weight_decay"])
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=_MOMENTUM)
    if name == "nesterov":
        return torch.optim.SGD(groups, momentum=_MOMENTUM, nesterov=True)
    if name == "adamw":
        return torch.optim.AdamW(groups)
    raise SettingError(f"optimizer is one of sgd, nesterov, sgd-published, adamw; got {name!r}")


def _warm(step: int, steps_per_epoch: int, warmup: float) -> float:
    return min(1.0, (step + 1) / (warmup * steps_per_epoch)) if warmup > 0 else 1.0


def _belongs(name: str, layer: str) -> bool:
    return name == layer or name.startswith(f"{layer}.")
