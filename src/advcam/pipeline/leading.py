"""The device of the process that leads a run: on a cluster the GPUs may be on other machines only."""

import torch

from advcam.errors import SettingError
from advcam.pipeline.shards import Engine


def leading_device(device: str, precision: str | None, engine: Engine | None) -> str:
    """Where the leading process has the network, of which it needs the names of the classes and a digest.

    Args:
        device: That the workers were told.
        precision: That they were told; None or "auto" leaves it to the device.
        engine: Brings the work to processes.

    Raises:
        SettingError: The precision is left to a device that this machine has not, so that nobody can say what the run
            is computed in.
    """
    if engine is None or not engine.remote or not device.startswith("cuda") or torch.cuda.is_available():
        return device
    if precision in (None, "auto"):
        raise SettingError(
            f"this machine has no {device} to say which precision is its fastest; add --precision bfloat16 (GPUs from "
            "Ampere on), float16 or float32"
        )
    return "cpu"
