"""Early stop and momentum: against the loop written out, by closed form, and what they spare."""

import math
from dataclasses import replace
from typing import Any

import literal
import numpy as np
import pytest
import torch
from counted import CLASSES, CLIMB, LAMBDA, SEED, STEPS, TRIPLES, XI, Counted, Sizes, pairs, picture
from literal import ToyNetwork
from torch import Tensor

from advcam import AdvCAM, Classifier
from advcam.attribution.climb import climb
from advcam.attribution.response import DenseResponse, Response
from advcam.attribution.settings import ClimbSettings


def close(ours: Tensor, theirs: Tensor, atol: float = 1e-10) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


def advcam(**options: Any) -> AdvCAM:
    return AdvCAM(Classifier.from_module(ToyNetwork()), **options)


# Against the loop written out


def slow_climb(
    network: ToyNetwork, pair: Tensor, label: int, momentum: float = 0.0, stop: float = 0.0
) -> tuple[Tensor, int]:
    """A of one triple, STEPS steps of XI, tau = 0.5; and at which step it stopped."""
    x, velocity, maps = pair.clone(), torch.zeros_like(pair), []
    for t in range(STEPS + 1):
        x = x.detach().requires_grad_()
        activation = torch.einsum("k,bkhw->bhw", network.head.weight[label], network.features(x)).relu()
        cam = activation[0] + activation[1].flip(-1)
        maps.append(cam.detach())
        if 0 < t < STEPS:
            before, after = sum(maps[:-1]), sum(maps)
            change = (after / after.max() - before / before.max()).abs().mean()  # type: ignore[union-attr]
            if change < stop:
                return after + (STEPS - t) * maps[-1], t
        mask = cam.detach() / cam.detach().max() > 0.5
        objective = network(x)[:, label].sum() - LAMBDA * (mask * (cam - maps[0]).abs()).sum() / cam.numel()
        (gradient,) = torch.autograd.grad(objective, x)
        velocity = momentum * velocity + gradient / (gradient.abs().max() + 1e-12)
        x = x.detach() + XI * velocity
    return sum(maps), STEPS  # type: ignore[return-value]


def test_the_loop_without_momentum_and_stop_is_that_of_the_paper() -> None:
    network, pair = Counted(SEED).module, pairs(1)[0]
    total, step = slow_climb(network, pair, 2)
    close(total, literal.paper(network, pair, 2, STEPS, xi=XI, lamda=LAMBDA, others="none").maps.sum(dim=0))
    assert step == STEPS


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("stop", [0.0, 0.026, 0.034, 0.9])
def test_each_triple_of_a_batch_is_the_loop_written_out(momentum: float, stop: float) -> None:
    """Triples stop at steps of their own, with what they have by then."""
    network, views = Counted(SEED), pairs(3)
    chosen = replace(CLIMB, momentum=momentum, stop=stop)
    labels, owners = torch.tensor([label for _, label in TRIPLES]), [p for p, _ in TRIPLES]
    ours = climb(network, views, labels, chosen, STEPS, "none", owners)
    stopped = []
    for n, (p, label) in enumerate(TRIPLES):
        expected, step = slow_climb(network.module, views[p], label, momentum, stop)
        close(ours.total[n], expected)
        stopped.append(step)
    assert (len(set(stopped)) > 1) == (0 < stop < 0.5), "the case is about triples that stop at different steps"
    assert network.passes[1:] == [sum(t <= step for step in stopped) for t in range(1, max(stopped) + 1)]
    assert ours.count == STEPS + 1


def test_momentum_adds_up_along_a_constant_gradient() -> None:
    """v_t = (1 - mu^t) / (1 - mu) where the gradient is the same everywhere."""

    class Red:
        def respond(self, inputs: Tensor) -> Response:
            return DenseResponse(inputs[:, :1])

    views = torch.full((1, 1, 3, 4, 4), 0.2, dtype=torch.float64)
    for norm, unit in (("max", 1.0), ("rms", math.sqrt(3)), ("raw", 1 / 16)):
        chosen = ClimbSettings(penalty=0.0, momentum=0.6, step_size=0.1, step_norm=norm)  # type: ignore[arg-type]
        inputs = climb(Red(), views, torch.tensor([0]), chosen, 4, "all").inputs
        assert inputs is not None
        speeds = torch.tensor([0.0, 1.0, 1.6, 1.96, 2.176], dtype=torch.float64)
        red = 0.2 + 0.1 * unit * speeds.cumsum(dim=0)
        close(inputs[:, 0, 0], red[:, None, None].expand(5, 4, 4))
        close(inputs[:, 0, 1:], views[0, :, 1:].expand(5, 2, 4, 4))


def test_momentum_and_stop_are_off_unless_asked() -> None:
    (plain,), (off,), (on,) = (
        advcam(**options)([picture()], [[0, 2]]) for options in ({}, {"momentum": 0.0, "stop": 0.0}, {"momentum": 0.9})
    )
    np.testing.assert_array_equal(off.maps, plain.maps)
    assert np.abs(on.maps - plain.maps).max() > 1e-3
    asked = ClimbSettings(momentum=0.5, stop=0.1)
    assert advcam(settings=asked).settings == asked
    assert advcam(settings=asked, momentum=0.0, stop=0.0).settings == ClimbSettings()


# Early stop


class Dark:
    """A picture of no evidence at all for class 0, which never moves; class 1 is red."""

    def __init__(self) -> None:
        self.passes: list[int] = []

    def respond(self, inputs: Tensor) -> Response:
        self.passes.append(len(inputs))
        return DenseResponse(torch.stack([0 * inputs[:, 0], inputs[:, 0]], dim=1))


def test_no_stop_means_every_step() -> None:
    """Also for maps that do not change."""
    network, views = Dark(), torch.rand(2, 1, 3, 4, 4, dtype=torch.float64)
    climb(network, views, torch.tensor([0, 0]), ClimbSettings(stop=0.0), 5)
    assert network.passes == [2] * 6


def test_maps_that_do_not_change_stop_at_once() -> None:
    network, views = Dark(), torch.rand(2, 1, 3, 4, 4, dtype=torch.float64)
    total = climb(network, views, torch.tensor([0, 0]), ClimbSettings(stop=1e-9), 5).total
    assert network.passes == [2, 2]
    assert torch.equal(total, torch.zeros(2, 4, 4, dtype=torch.float64))
    network.passes.clear()
    chosen = ClimbSettings(stop=1e-9, penalty=0.0)
    mixed = climb(network, views, torch.tensor([0, 1]), chosen, 5).total
    assert network.passes == [2, 2, 1, 1, 1, 1]
    close(mixed[1], climb(network, views[1:], torch.tensor([1]), chosen, 5).total[0])


def test_a_method_that_stops_spares_passes_and_changes_little() -> None:
    classifier = Classifier.from_module(Sizes(SEED))
    pictures, targets = [picture(seed=seed) for seed in range(3)], [[0, 1], [2], [1]]
    passes, results = [], []
    for stop in (0.0, 0.02, 0.9):
        method = AdvCAM(classifier, scales=(1.0,), iterations=20, step_size=XI, penalty=LAMBDA, stop=stop)
        Sizes.seen.clear()
        results.append(method(pictures, targets))
        passes.append(sum(shape[0] for shape in Sizes.seen))
    assert passes[0] == 4 * 21
    assert passes[2] == 4 * 2
    assert passes[2] < passes[1] < passes[0]
    for full, some, none in zip(*results, strict=True):
        assert np.abs(some.maps - full.maps).mean() < np.abs(none.maps - full.maps).mean()


@pytest.mark.parametrize("stop", [0.026, 0.9])
def test_recorded_steps_wait_at_the_last(stop: float) -> None:
    """Each triple repeats the step at which it stopped, the whole batch what it ended with."""
    network, views = Counted(SEED), pairs(3)
    chosen = replace(CLIMB, stop=stop)
    labels, owners = torch.tensor([label for _, label in TRIPLES]), [p for p, _ in TRIPLES]
    ours = climb(network, views, labels, chosen, STEPS, "all", owners)
    free = climb(network, views, labels, CLIMB, STEPS, "all", owners)
    for n, (p, label) in enumerate(TRIPLES):
        _, step = slow_climb(network.module, views[p], label, stop=stop)
        for kept, all_steps in ((ours.maps, free.maps), (ours.scores, free.scores), (ours.inputs, free.inputs)):
            assert kept is not None
            assert all_steps is not None
            assert len(kept) == len(all_steps) == STEPS + 1
            close(kept[: step + 1, n], all_steps[: step + 1, n])
            assert torch.equal(kept[step:, n], kept[step : step + 1, n].expand_as(kept[step:, n]))
    assert ours.maps is not None
    close(ours.total, ours.maps.sum(dim=0))
    assert not torch.equal(ours.total, free.total)


def test_scores_of_the_picture_itself_are_kept_without_a_record() -> None:
    network, views, labels = Counted(SEED), pairs(2), torch.tensor([0, 1])
    recorded, plain = (climb(network, views, labels, ClimbSettings(stop=0.9), 4, r) for r in ("maps", "none"))  # type: ignore[arg-type]
    assert plain.scores.shape == (1, 2, CLASSES)
    assert recorded.scores.shape == (5, 2, CLASSES)
    assert torch.equal(plain.scores[0], recorded.scores[0])
    assert plain.maps is None
