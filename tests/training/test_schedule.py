import pytest
import torch
from torch import nn
from toys import Toy

from advcam.errors import SettingError
from advcam.training.schedule import Polynomial, StepDecay, create_optimizer, parameter_groups


class PublishedPoly(torch.optim.SGD):
    """As the code of IRN calls SGD: weight decay in the place of the momentum; the power is called momentum."""

    def __init__(self, params: list[dict], lr: float, weight_decay: float, max_step: int) -> None:
        super().__init__(params, lr, weight_decay)
        self.done, self.max_step = 0, max_step
        self.initial = [group["lr"] for group in self.param_groups]

    def step(self) -> None:
        for group, lr in zip(self.param_groups, self.initial, strict=True):
            group["lr"] = lr * (1 - self.done / self.max_step) ** 0.9
        super().step()
        self.done += 1


def descend(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 7, factors: object = None) -> list:
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        for group in optimizer.param_groups if factors else ():
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factors(step, steps, 1)
        optimizer.zero_grad()
        network(torch.randn(4, 3, 9, 9, generator=generator)).square().sum().backward()
        optimizer.step()
    return [value.detach().clone() for value in network.parameters()]


def toy() -> Toy:
    torch.manual_seed(0)
    network = Toy()
    network.drop.p = 0.0
    return network


def test_the_published_optimiser_has_no_momentum_and_does_decay() -> None:
    """What `sgd-published` says is what the published call does: momentum 1e-4, weight decay by the groups."""
    network = toy()
    head, body = list(network.head.parameters()), list(network.features.parameters())
    groups = [
        {"params": body, "lr": 0.01, "weight_decay": 1e-2},
        {"params": head, "lr": 0.1, "weight_decay": 1e-2},
    ]
    published = descend(network, PublishedPoly(groups, lr=0.01, weight_decay=1e-2, max_step=7))
    results = {}
    for name in ("sgd-published", "sgd"):
        network = toy()
        made = create_optimizer(name, parameter_groups(network, ["head"], lr=0.01, weight_decay=1e-2))
        results[name] = descend(network, made, factors=Polynomial())
    assert all(torch.equal(a, b) for a, b in zip(published, results["sgd-published"], strict=True))
    assert not any(torch.allclose(a, b) for a, b in zip(published, results["sgd"], strict=True))
    network = toy()
    made = create_optimizer("sgd-published", parameter_groups(network, ["head"], lr=0.01, weight_decay=0.0))
    undecayed = descend(network, made, factors=Polynomial())
    assert not any(torch.equal(a, b) for a, b in zip(published, undecayed, strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sgd", {"momentum": 0.9, "nesterov": False, "weight_decay": 0.02}),
        ("nesterov", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.02}),
        ("sgd-published", {"momentum": 0.02, "nesterov": False, "weight_decay": 0.02}),
        ("adamw", {"weight_decay": 0.02}),
    ],
)
def test_optimisers(name: str, expected: dict) -> None:
    groups = create_optimizer(name, parameter_groups(Toy(), ["head"], lr=0.1, weight_decay=0.02)).param_groups
    assert [group["lr"] for group in groups] == [0.1, 1.0]
    assert all(group[key] == value for group in groups for key, value in expected.items())


def test_an_unknown_optimiser() -> None:
    with pytest.raises(SettingError, match="one of sgd, nesterov, sgd-published, adamw; got 'adam'"):
        create_optimizer("adam", [{"params": [], "weight_decay": 0}])  # type: ignore[arg-type]


def test_groups_hold_what_is_trained() -> None:
    network = Toy()
    groups = parameter_groups(network, ["head.weight"], lr=0.1, multiplier=3)
    assert [len(group["params"]) for group in groups] == [3, 1]
    assert groups[1]["params"][0] is network.head.weight
    network.features.requires_grad_(False)
    (only,) = parameter_groups(network, ["head"], lr=0.1, multiplier=3)
    assert only["lr"] == pytest.approx(0.3)
    with pytest.raises(SettingError, match=r"the network has no layer 'hea'; its parameters are features\.weight"):
        parameter_groups(network, ["hea"], lr=0.1)
    with pytest.raises(SettingError, match="no parameter of the network is trained"):
        parameter_groups(network.requires_grad_(False), ["head"], lr=0.1)


def test_polynomial() -> None:
    factors = [Polynomial()(step, 5, 2) for step in range(10)]
    assert factors == pytest.approx([(1 - step / 10) ** 0.9 for step in range(10)])
    assert [Polynomial(power=0)(step, 5, 2) for step in range(10)] == [1.0] * 10
    warm = [Polynomial(power=0, warmup=1)(step, 5, 2) for step in range(7)]
    assert warm == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0])


def test_step_decay() -> None:
    factors = [StepDecay(every=2)(step, 3, 6) for step in range(18)]
    assert factors == pytest.approx([1.0] * 6 + [0.1] * 6 + [0.01] * 6)
    assert StepDecay(every=1, factor=0.2, warmup=2)(3, 3, 6) == pytest.approx(0.2 * 4 / 6)
