"""Noticing that a training diverges, before weights that are worth nothing take the place of good ones."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advcam.classifiers.layers import all_finite
from advcam.errors import DivergedError

#: A loss this many times the first one (or 1) has exploded.
EXPLODED = 100.0
#: A learning rate this many times lower is proposed.
_LOWER = 0.3


def check_loss(loss: float, first: float | None, step: int, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Raise `DivergedError` if the loss of a step is not finite, or has exploded.

    Args:
        loss: Of this step.
        first: Of the first step of the training; None where that was not finite.
        step: Counted from 1 over the whole training.
        optimizer: For its learning rate.
        folder: Of the training.
    """
    if not (math.isfinite(loss) and loss <= EXPLODED * max(1.0, first or 0.0)):
        raise _diverged(f"at step {step} (loss {loss:.4g}, lr {base_lr(optimizer):.4g})", optimizer, folder)


def check_weights(model: nn.Module, epoch: int, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Raise `DivergedError` if a weight is NaN or infinite."""
    broken = all_finite(model)
    if broken is not None:
        raise _diverged(f"in epoch {epoch} (NaN or infinity in {broken})", optimizer, folder)


def base_lr(optimizer: torch.optim.Optimizer, key: str = "lr") -> float:
    """Learning rate of the pretrained layers now, or with "initial_lr" as it was set."""
    return min(_base(group, key) for group in optimizer.param_groups)


def _base(group: Mapping[str, Any], key: str) -> float:
    return float(group[key] / group.get("multiplier", 1.0))


def _diverged(where: str, optimizer: torch.optim.Optimizer, folder: Path) -> DivergedError:
    lower = _LOWER * base_lr(optimizer, "initial_lr")
    return DivergedError(
        f"training diverged {where}: lower lr to {lower:.1g}, clip the gradient, or check the pictures and labels; "
        f"start again in another folder or delete {folder}"
    )
