"""Tensors on disk: safetensors, PyTorch's own files, states of trainings, attributions."""

import io
import json
import pickle
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from advcam.classifiers.weights import load_by_position, load_weights
from advcam.training.checkpoint import Record, read_state, write_state
from advcam.types import Attribution
from fuzz.mutation import change, of_bytes
from fuzz.target import Target, file_reader


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def _load(path: Path) -> None:
    load_weights(_network(), path)


def _load_state(path: Path) -> None:
    model = _network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    read_state(path, model, optimizer, {"seed": 0})


def _safetensors(_folder: Path) -> list[bytes]:
    state = _network().state_dict()
    return [save(state), save({f"module.{name}": tensor for name, tensor in state.items()})]


def _torch_files(_folder: Path) -> list[bytes]:
    """Files of this PyTorch and in the layout before 1.6, alone and in containers; and a pickle with code."""
    state = dict(_network().state_dict())
    contents: list[tuple[object, bool]] = [(state, True), ({"state_dict": state, "epoch": 3}, True), (state, False)]
    found = []
    for content, zipped in contents:
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
        found.append(buffer.getvalue())
    return [*found, pickle.dumps({"weight": print})]


def _states(folder: Path) -> list[bytes]:
    model = _network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    write_state(folder / "last.safetensors", model, optimizer, Record(epoch=1), {"seed": 0})
    return [(folder / "last.safetensors").read_bytes()]


def _attributions(folder: Path) -> list[bytes]:
    maps = np.zeros((1, 2, 3), dtype=np.float32)
    Attribution((4,), ("cat",), maps, (20, 30), np.ones(1, dtype=np.float32)).save(folder / "a.safetensors")
    return [(folder / "a.safetensors").read_bytes()]


def _of_safetensors(content: bytes, draw: random.Random) -> bytes:
    """Change the header; its length fits."""
    try:
        (length,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + length])
    except (struct.error, ValueError, RecursionError):
        return of_bytes(content, draw)
    if draw.random() < 0.3 or not isinstance(header, dict):
        return of_bytes(content, draw)
    inner = header.get("__metadata__")
    if isinstance(inner, dict) and inner and draw.random() < 0.6:  # JSON of ours in a text of the header
        key = draw.choice(list(inner))
        try:
            header["__metadata__"] = inner | {key: json.dumps(change(json.loads(inner[key]), draw))}
        except (ValueError, TypeError, RecursionError):
            return of_bytes(content, draw)
    else:
        header = change(header, draw)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def _of_torch(content: bytes, draw: random.Random) -> bytes:
    """Change the bytes of one entry of the archive; its checksum fits."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # noqa: BLE001, whatever zipfile raises
        return of_bytes(content, draw)
    if not entries or draw.random() < 0.2:
        return of_bytes(content, draw)
    name = draw.choice(list(entries))
    entries[name] = of_bytes(entries[name], draw)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


TARGETS = (
    Target("safetensors", file_reader("weights.safetensors", _load), _safetensors, _of_safetensors),
    Target("torch", file_reader("weights.pth", _load), _torch_files, _of_torch),
    Target(
        "weights-by-position",
        file_reader("weights.pth", lambda path: load_by_position(_network(), path)),
        _torch_files,
        _of_torch,
    ),
    Target("training-state", file_reader("last.safetensors", _load_state), _states, _of_safetensors),
    Target("attribution", file_reader("a.safetensors", Attribution.load), _attributions, _of_safetensors),
)
