"""An `Accelerator` for one training: device, number format, passes and processes."""

import atexit
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.state import AcceleratorState, PartialState  # type: ignore[import-untyped]
from accelerate.utils import GradientAccumulationPlugin  # type: ignore[import-untyped]
from torch import nn

from advcam.attribution.precision import resolve
from advcam.errors import ModelError, SettingError

_MIXED = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}


@contextmanager
def accelerated(model: nn.Module, precision: str, passes: int) -> Iterator[Accelerator]:
    """While it lasts, accelerate runs a model where it lies; then model and random numbers are as before.

    Args:
        model: Its first parameter tells the device. Started by `accelerate launch` or `torchrun` on GPUs, each process
            takes its own.
        precision: See `LoopSettings`.
        passes: Of one step of the optimiser.

    Raises:
        SettingError: float16 without a GPU.
        ModelError: The weights are not float32.
    """
    weight = next(model.parameters())
    if weight.dtype != torch.float32:
        raise ModelError(f"networks are trained with float32 weights; got {weight.dtype}: call .float() on it")
    dtype = resolve(precision, weight)
    if dtype == torch.float16 and weight.device.type == "cpu":
        raise SettingError("precision float16 needs a GPU; on a CPU take bfloat16 or float32")
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # accelerate keeps its state for the life of the process, and would train a second network on the first one's device
    # and in its number format. The group of processes, if there is one, is the same for all.
    AcceleratorState._reset_state(reset_partial_state=not launched)
    if weight.device.type == "cuda" and not launched:
        torch.cuda.set_device(weight.device)
    accelerator = Accelerator(
        cpu=weight.device.type == "cpu",
        mixed_precision=_MIXED[dtype],
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=passes, sync_with_dataloader=False),
    )
    if launched:
        _leave_the_group_at_the_end()
    devices = range(torch.cuda.device_count()) if weight.device.type == "cuda" else ()
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        # A convolution of 1 x 1 has the same gradient in either order of memory.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        try:
            yield accelerator
        finally:
            accelerator.unwrap_model(model, keep_fp32_wrapper=False)


@cache
def _leave_the_group_at_the_end() -> None:
    """Threads of a group of processes that nobody ends can bring a process down after all its work is done."""
    atexit.register(PartialState().destroy_process_group)
