"""In which number format a network is run: chosen by the user, or what the device computes fastest.

Half precision is for the network only. Maps, scores, steps and the picture that is climbed are float32 whatever is
chosen here (method.md 7): the network's input is rounded at each pass, what is added up is not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from advcam.errors import SettingError

Precision = Literal["auto", "float64", "float32", "bfloat16", "float16"]

#: What `resolve` takes.
PRECISIONS = ("auto", "float64", "float32", "bfloat16", "float16")


def resolve(precision: str, weights: torch.Tensor, exact: bool = False) -> torch.dtype:
    """The number format that a choice means for a network.

    "auto" is bfloat16 where the device has instructions for it and the weights are float32, otherwise the format of
    the weights.

    Args:
        precision: One of `PRECISIONS`.
        weights: A weight of the network, for its device and format.
        exact: "auto" is the format of the weights.

    Raises:
        SettingError: Another name.
    """
    if precision not in PRECISIONS:
        raise SettingError(f"precision is one of {', '.join(PRECISIONS)}; got {precision!r}")
    if precision != "auto":
        return getattr(torch, precision)  # type: ignore[no-any-return]
    faster = not exact and weights.dtype == torch.float32 and has_bfloat16(weights.device)
    return torch.bfloat16 if faster else weights.dtype


@contextmanager
def as_said(precision: str) -> Iterator[None]:
    """While it lasts, float32 on a GPU is float32, and not the ten bits of TF32 that convolutions take by default."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    if precision in ("float32", "float64"):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16, so that it is faster than float32 there."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # No public question exists; where torch drops these, bfloat16 is still there by name.
        asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(bool(supported()) for supported in asked if supported is not None)
    return False
