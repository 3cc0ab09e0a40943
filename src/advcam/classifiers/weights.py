"""Weights from a local file: safetensors, or a PyTorch file that holds tensors only."""

import pickle
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from advcam.errors import WeightsError

#: Keys under which training scripts keep the weights, and prefixes that wrappers put before each name.
CONTAINERS = ("state_dict", "model", "model_state_dict", "net")
PREFIXES = ("module.", "model.", "_orig_mod.")
_MOST_WRAPPERS = 8


def read_weights(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Tensors by name. Nothing in the file is executed.

    Raises:
        WeightsError: The file is missing, damaged, no weights file, or a pickle with code in it.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key in CONTAINERS:
        if isinstance(state.get(key), Mapping):
            state = state[key]
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no tensors; expected a state dict (names to tensors)")
    odd = next((name for name, tensor in tensors.items() if not _is_plain(tensor)), None)
    if odd is not None:
        raise WeightsError(f"{path}: {odd} is no dense tensor of real numbers; save the network before it is converted")
    return tensors


def load_weights(module: nn.Module, path: str | PathLike[str]) -> None:
    """Fill a network with the weights of a file.

    Raises:
        WeightsError: As `read_weights`, or the names or shapes are another architecture's.
    """
    own = module.state_dict()
    tensors = _unwrapped(read_weights(path), own)
    missing = [name for name in own if name not in tensors]
    unknown = [name for name in tensors if name not in own]
    shaped = [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if missing or unknown:
        raise WeightsError(
            f"{path} holds the weights of another architecture than {type(module).__name__}: {_some('lacks', missing)}"
            f"{_some('has unknown', unknown)}choose the network that they were trained with"
        )
    if shaped:
        name = shaped[0]
        raise WeightsError(
            f"{path} does not fit: {name} is {tuple(tensors[name].shape)}, the network's {tuple(own[name].shape)}"
            f"{' (and ' + str(len(shaped) - 1) + ' more)' if len(shaped) > 1 else ''}; "
            "set the number of classes or the network"
        )
    module.load_state_dict(tensors)


def load_by_position(module: nn.Module, path: str | PathLike[str]) -> None:
    """Fill a network with tensors of other names but the same order and shapes.

    Raises:
        WeightsError: As `read_weights`, or count or shapes differ.
    """
    tensors, own = read_weights(path), module.state_dict()
    same = len(tensors) == len(own) and all(
        a.shape == b.shape for a, b in zip(tensors.values(), own.values(), strict=True)
    )
    if not same:
        raise WeightsError(f"{path} does not hold the {len(own)} tensors of {type(module).__name__} in their order")
    module.load_state_dict(dict(zip(own, tensors.values(), strict=True)))


def _unwrapped(tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes of wrappers, for a network that does not itself have such names."""
    for _ in range(_MOST_WRAPPERS):
        if tensors.keys() & own.keys():
            break
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no safetensors file or is damaged: {error}") from error


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        if zipfile.is_zipfile(path):
            _check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        if _is_pickle(path):
            raise WeightsError(
                f"{path} holds Python objects, which could run code when loaded, and is refused; save the tensors "
                "alone: safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
            ) from error
        raise WeightsError(f"{path} is no PyTorch weights file or is damaged") from error
    except Exception as error:
        raise WeightsError(f"{path} is no PyTorch weights file or is damaged") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}; expected a state dict (names to tensors)")
    return dict(state)


def _check_archive(path: Path) -> None:
    """Refuse an archive that is larger than its file: PyTorch compresses nothing, and zeros shrink a thousandfold."""
    with zipfile.ZipFile(path) as archive:
        inside = sum(entry.file_size for entry in archive.infolist())
    if inside > path.stat().st_size:
        raise WeightsError(
            f"{path} is a compressed archive of {inside:,} bytes, which PyTorch does not write; save the weights anew"
        )


def _is_plain(tensor: Tensor) -> bool:
    odd = tensor.is_quantized or tensor.is_meta or tensor.is_nested or tensor.is_complex()
    return tensor.layout is torch.strided and not odd


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as PyTorch's zip or as a pickle does."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _some(verb: str, names: list[str]) -> str:
    return f"{verb} {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}, " if names else ""
