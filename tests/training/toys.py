"""A toy network and a data set whose pictures change with the epoch, for the loop."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from advcam.training.objective import Objective
from advcam.training.order import picture_generator


class Toy(nn.Module):
    """A convolution, dropout, pooling and a linear head."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3, stride=2)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(6, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.drop(self.features(pictures).relu().mean(dim=(2, 3))))


class ToyObjective(Objective):
    """Cross-entropy."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return functional.cross_entropy(self.network(batch["pictures"]), batch["labels"])


class Noise:
    """Pictures of one colour each with noise of their own in each epoch; the label is the strongest colour."""

    def __init__(self, count: int = 11, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(5)
        self.colours = torch.rand((count, 3), generator=generator)
        self.seed, self.epoch = seed, 0
        self.seen: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.colours)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.seen.append((self.epoch, index))
        noise = picture_generator(self.seed, self.epoch, index).normal(0, 0.1, (3, 9, 9))
        picture = self.colours[index][:, None, None] + torch.from_numpy(noise).float()
        return {"pictures": picture, "labels": self.colours[index].argmax()}


def toy_objective(seed: int = 0, dropout: float = 0.2) -> ToyObjective:
    """A toy with fixed initial weights."""
    torch.manual_seed(seed)
    objective = ToyObjective(Toy())
    objective.network.drop.p = dropout
    return objective


def weights(objective: Objective) -> Tensor:
    """All weights in one row."""
    return torch.cat([value.flatten() for value in objective.network.state_dict().values()])
