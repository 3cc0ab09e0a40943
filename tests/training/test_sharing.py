"""What processes share comes back as one process would have it, to the last bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import PartialState
from launched import launched
from PIL import Image
from torch import nn
from torch.nn import functional
from toys import Toy

from advcam.errors import PictureError, RunError
from advcam.training.augment import RECIPES, Normalisation, Preparation
from advcam.training.classification import ClassificationObjective, EvaluationPictures, TrainingPictures, measure
from advcam.training.mixture import collect_features
from advcam.training.sharing import in_turn, own_batches, peers, share_buffers, turns
from advcam.types import Sample

PREPARATION = Preparation(RECIPES["resized-crop"], 32, Normalisation((0.5,) * 3, (0.5,) * 3))
COUNT = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures; the first and the last cannot be read."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(1, COUNT - 1):
        Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def samples(folder: Path) -> list[Sample]:
    return [Sample(f"{number}.png", folder / f"{number}.png", ("a",)) for number in range(COUNT)]


def everything(folder: Path) -> dict[str, Any]:
    """What is shared, in this process."""
    PartialState(cpu=True)
    torch.manual_seed(0)
    network, found = Toy().eval(), dict[str, Any]()
    labels = functional.one_hot(torch.arange(COUNT) % 3, 3).float()
    held_out = EvaluationPictures(samples(folder), labels, PREPARATION)
    for kind in ("multi-label", "single-label"):
        for batch_size in (2, 5):
            found[f"{kind}, {batch_size}"] = measure(
                ClassificationObjective(network, kind), held_out, batch_size=batch_size
            )
    data = TrainingPictures(samples(folder), labels, PREPARATION, seed=3)
    seen = collect_features(
        network, "head", data, looks=2, batch_size=2, precision=torch.float32, progress=lambda _: None
    )
    found["features"] = [tensor.numpy().tobytes() for tensor in seen]
    for count in range(9):
        found[f"{count} pieces"] = in_turn([turn**2 for turn in turns(count)])
    found["batches"] = in_turn(own_batches(COUNT, 3))
    return found


def test_all_processes_find_what_one_finds(folder: Path) -> None:
    (alone,) = launched(1, everything, folder)
    assert [alone[f"{count} pieces"] for count in range(9)] == [[n**2 for n in range(count)] for count in range(9)]
    assert alone["batches"] == [[0, 1, 2], [3, 4, 5], [6]]
    for processes in (2, 3):
        assert launched(processes, everything, folder) == [alone] * processes


def nothing_readable(folder: Path) -> str:
    PartialState(cpu=True)
    gone = EvaluationPictures(samples(folder)[:1] * 3, torch.ones(3, 3), PREPARATION)
    try:
        measure(ClassificationObjective(Toy(), "multi-label"), gone, batch_size=1)
    except PictureError as error:
        return str(error)
    return "measured"


def own_statistics() -> list[float]:
    """Each process has looked at pictures of its own."""
    state, layer = PartialState(cpu=True), nn.BatchNorm1d(1)
    layer.running_mean.fill_(state.process_index + 5)
    share_buffers(layer)
    return [float(layer.running_mean), float(layer.running_var), int(layer.num_batches_tracked)]


def test_all_processes_refuse_together_and_measure_with_the_statistics_of_the_main_one(folder: Path) -> None:
    text = "none of the pictures to validate with can be read; check their paths"
    assert launched(2, nothing_readable, folder) == [text] * 2
    assert launched(2, own_statistics) == [[5.0, 1.0, 0]] * 2


def meet(error: Exception) -> None:
    with peers():
        raise error


def test_a_lost_process_is_named() -> None:
    lost = "[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4242\nmore"
    for error in (RuntimeError(lost), torch.distributed.DistBackendError("NCCL error: remote process exited\nmore")):
        with pytest.raises(RunError) as caught:
            meet(error)
        first = str(error).splitlines()[0]
        assert str(caught.value) == (
            f"another process of this launch ended or cannot be reached ({first}); its own message says why; the same "
            "command goes on from the last state, with any number of processes"
        )
    with pytest.raises(RuntimeError, match="shapes"):
        meet(RuntimeError("shapes do not fit"))
