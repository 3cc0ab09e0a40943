"""IRN's losses are means over the pairs of a whole batch, however many processes and passes divide it."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from launched import launched
from torch import Tensor, nn

from advcam.pipeline.chain.irn import IrnObjective
from advcam.refine.irn.losses import irn_loss
from advcam.training.acceleration import accelerated
from advcam.training.loop import _Loop
from advcam.training.schedule import Polynomial
from advcam.training.settings import LoopSettings

GRID, STRIDE = (7, 6), 4


class Branches(nn.Module):
    """Takes the place of the network: a pixel of the grid to a logit and a displacement."""

    def __init__(self) -> None:
        super().__init__()
        self.edge = nn.Conv2d(3, 1, 1)
        self.move = nn.Conv2d(3, 2, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        return self.edge(pictures), self.move(pictures)


class Grids:
    """Pictures of the size of the grid, with labels of the picture: of all kinds, or of one alone."""

    kinds = ([0, 0, 3, 255], [0], [0, 2], [255], [4])

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        random = np.random.default_rng(index)
        cells = random.choice(self.kinds[index], GRID).repeat(STRIDE, 0).repeat(STRIDE, 1)
        return {"pictures": torch.from_numpy(random.standard_normal((3, *GRID))), "labels": torch.from_numpy(cells)}


def branches() -> Branches:
    torch.manual_seed(0)
    return Branches()


def whole_batch() -> tuple[Tensor, Tensor]:
    """The pictures and the labels of the grid."""
    rows = [Grids()[index] for index in range(len(Grids()))]
    labels = torch.stack([row["labels"][::STRIDE, ::STRIDE] for row in rows])
    return torch.stack([row["pictures"] for row in rows]), labels


def one_step(folder: Path, accumulate: int, pictures: int) -> tuple[Tensor, float]:
    """Minus the gradient of a batch of all pictures, by what a step of rate 1 does to the weights; and the loss."""
    objective = IrnObjective(branches())
    settings = LoopSettings(epochs=1, batch_size=pictures, accumulate=accumulate, precision="float32", log_every=99)
    with accelerated(objective, "float32", accumulate) as accelerator:
        objective.double()
        before = nn.utils.parameters_to_vector(objective.network.parameters()).detach().clone()
        optimizer = torch.optim.SGD(objective.parameters(), lr=1.0)
        data = torch.utils.data.Subset(Grids(), range(pictures))
        loop = _Loop(accelerator, objective, optimizer, Polynomial(), data, settings, folder)
        loop.run_epoch()
    after = nn.utils.parameters_to_vector(objective.network.parameters()).detach()
    return before - after, loop.record.loss_sum / loop.record.pictures


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], list[tuple[Tensor, float]]]:
    folder = tmp_path_factory.mktemp("steps")
    return {key: launched(key[0], one_step, folder, key[1], 5) for key in product((1, 2, 3), (1, 2)) if key != (3, 2)}


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)])
def test_the_gradient_is_that_of_the_whole_batch(
    steps: dict[tuple[int, int], list[tuple[Tensor, float]]], processes: int, accumulate: int
) -> None:
    """Parts of unequal size, with other numbers of pairs of each kind, and some without any of a kind."""
    network = branches().double()
    pictures, labels = whole_batch()
    edges, displacement = network(pictures)
    loss = irn_loss(edges, displacement, labels).total
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))])
    for gradient, value in steps[processes, accumulate]:
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)
        assert value == pytest.approx(loss.item(), rel=1e-6), "the loss of a step is reduced in float32"
