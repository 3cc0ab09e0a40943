"""The state of a training on disk: one safetensors file, whole or absent, without pickles.

Model and optimiser tensors, and as JSON in the metadata of the same file all that is no tensor. As one file is written
under another name and then takes the place of the last one, a state is consistent at whatever moment a training is
killed and however full the disk is.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from advcam.errors import RunError, one_line
from advcam.store.files import replacing
from advcam.store.run import JSON
from advcam.untrusted import parse_json

FORMAT_VERSION = 1
_MODEL, _OPTIMIZER = "model.", "optimizer."
_KEY = "advcam_training"
_NAMED_IN_ERROR = 3

#: What an epoch left behind: its number, mean loss, last learning rate, and the metrics of its validation.
Epoch = dict[str, float]


@dataclass
class Record:
    """Where a training stands, apart from its tensors.

    Args:
        epoch: Epochs that are finished.
        step: Steps done of the next one.
        loss_sum: Loss times pictures over these steps.
        pictures: Pictures seen in these steps.
        first_loss: Of the first step of the training.
        best: Best metric so far; None before the first validation.
        best_epoch: The last epoch that reached it, counted from 1; 0 for none.
        improved: The first one.
        stopped: Ended by early stopping.
        history: One entry for each finished epoch.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    pictures: int = 0
    first_loss: float | None = None
    best: float | None = None
    best_epoch: int = 0
    improved: int = 0
    stopped: bool = False
    history: list[Epoch] = field(default_factory=list)


def write_weights(path: Path, network: nn.Module, facts: Mapping[str, JSON]) -> None:
    """The weights of a network alone, as `advcam.load_classifier` and every other reader of safetensors takes them.

    Args:
        path: Of the safetensors file.
        network: Its state dict is written.
        facts: Values for the metadata, JSON each.

    Raises:
        RunError: The file cannot be written.
    """
    data = serialise(_on_cpu(network.state_dict()), {name: json.dumps(value) for name, value in facts.items()})
    with replacing(path) as file:
        file.write(data)


def write_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    record: Record,
    facts: Mapping[str, JSON],
    scaler: Mapping[str, Any] | None = None,
) -> None:
    """Write everything that a training needs to go on.

    Args:
        path: Of the safetensors file.
        model: What is trained.
        optimizer: Its optimiser.
        record: Where the training stands.
        facts: What must be the same for the training to be continued.
        scaler: State of the gradient scaler (float16).

    Raises:
        RunError: The file cannot be written; the last one is still there.
    """
    tensors = {_MODEL + name: value for name, value in model.state_dict().items()}
    scalars: dict[str, dict[str, JSON]] = {}
    for number, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMIZER}{number}.{key}"] = value
            else:
                scalars.setdefault(str(number), {})[key] = value
    content = {
        "version": FORMAT_VERSION,
        "record": asdict(record),
        "facts": facts,
        "optimizer": scalars,
        "scaler": dict(scaler) if scaler else None,
    }
    data = serialise(_on_cpu(tensors), {_KEY: json.dumps(content)})
    with replacing(path) as file:
        file.write(data)


def read_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, facts: Mapping[str, JSON]
) -> tuple[Record, dict[str, Any] | None]:
    """Fill model and optimiser with the state of a file.

    Returns:
        Where the training stands, and the state of the gradient scaler.

    Raises:
        RunError: The file is damaged, of another training, or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            content = parse_json((file.metadata() or {})[_KEY].encode())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        record, scaler = Record(**content["record"]), content["scaler"]
        version, stored, scalars = content["version"], content["facts"], content["optimizer"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} is damaged or no state of a training ({one_line(error)}); delete it to start again"
        ) from error
    if version != FORMAT_VERSION:
        raise RunError(f"{path} has format {version}, expected {FORMAT_VERSION}; delete it to start again")
    if differing := differences(stored, facts):
        raise RunError(
            f"{path.parent} holds a training with other settings: {differing}; choose another folder, or delete this "
            "one to start again"
        )
    try:
        model.load_state_dict({n.removeprefix(_MODEL): v for n, v in tensors.items() if n.startswith(_MODEL)})
        optimizer.load_state_dict(_optimizer_state(tensors, scalars, optimizer))
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is the state of another network; choose another folder or delete this one") from error
    return record, scaler


def differences(stored: JSON, current: JSON) -> str:
    """The first settings that differ, for people: `lr was 0.1, is now 0.03`; empty where none does."""
    old, new = _leaves(stored), _leaves(current)
    keys = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    named = [f"{key} was {old.get(key, 'absent')}, is now {new.get(key, 'absent')}" for key in keys[:_NAMED_IN_ERROR]]
    return "; ".join(named) + (f"; and {len(keys) - len(named)} more" if len(keys) > len(named) else "")


def finite(value: float) -> float | None:
    """The number, or None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None


def _optimizer_state(
    tensors: Mapping[str, Tensor], scalars: Mapping[str, Mapping[str, Any]], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {int(number): dict(entries) for number, entries in scalars.items()}
    for name, value in tensors.items():
        if name.startswith(_OPTIMIZER):
            number, key = name.removeprefix(_OPTIMIZER).split(".", 1)
            state.setdefault(int(number), {})[key] = value
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _leaves(value: JSON, prefix: str = "") -> dict[str, str]:
    """JSON of the leaves of nested objects, by dotted key; lists of names leaf by leaf."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in _leaves(item, f"{prefix}{key}.").items()}
    if isinstance(value, list | tuple) and len(value) > 0:
        return {k: v for key, item in enumerate(value) for k, v in _leaves(item, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): json.dumps(value)}
