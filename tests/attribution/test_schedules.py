"""How many steps a climb takes at which scale, and that all classes of a picture share its first pass."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import literal
import numpy as np
import pytest
import torch
from counted import CLASSES, CLIMB, SEED, Counted, Sizes, pairs, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from literal import ToyNetwork
from torch import Tensor
from torch.nn import functional

from advcam import CAM, AdvCAM, Classifier
from advcam.attribution.climb import climb
from advcam.attribution.response import ScaleMaps
from advcam.attribution.settings import ClimbSettings
from advcam.errors import SettingError


def close(ours: Tensor, theirs: Tensor, atol: float = 1e-10) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


def advcam(**options: Any) -> AdvCAM:
    return AdvCAM(Classifier.from_module(ToyNetwork()), **options)


# Efforts


@pytest.mark.parametrize(
    ("options", "steps", "small", "flip"),
    [
        ({"effort": "fast"}, 2, 0, False),
        ({"effort": "balanced"}, 4, 1, False),
        ({"effort": "paper"}, 8, 2, True),
        ({}, 4, 1, False),
        ({"effort": "fast", "flip": True}, 2, 0, True),
        ({"effort": "paper", "flip": False}, 8, 2, False),
        ({"effort": "fast", "iterations": 27}, 27, 6, False),
        ({"iterations": 3}, 3, 0, False),
        ({"effort": "paper", "small_iterations": 5}, 8, 5, True),
        ({"effort": "paper", "small_iterations": 0}, 8, 0, True),
        ({"iterations": 12, "small_iterations": 12}, 12, 12, False),
        ({"settings": ClimbSettings(iterations=9)}, 9, 9, False),
        ({"settings": ClimbSettings(iterations=9, small_iterations=2), "iterations": 5}, 5, 2, False),
    ],
)
def test_what_an_effort_means(options: dict[str, Any], steps: int, small: int, flip: bool) -> None:
    method = advcam(**options)
    assert [method.settings.steps_at(scale) for scale in (0.25, 0.99, 1.0, 1.5, 2.0)] == [small] * 2 + [steps] * 3
    assert method.flip is flip
    assert method.scales == (0.5, 1.0, 2.0)
    views = 2 if flip else 1
    assert method.cost([3]).passes == 3 * views * ((2 * small + 1) / 4 + (2 * steps + 1) * 5)


def test_the_published_variant_has_no_small_steps_of_its_own() -> None:
    method = advcam(variant="published")
    assert method.settings == ClimbSettings.published()
    assert method.flip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effort": "best"}, "effort is one of fast, balanced, paper; got 'best'"),
        (
            {"effort": "fast", "variant": "published"},
            "variant=\"published\" has steps and scales of its own; leave effort='fast' away",
        ),
        ({"momentum": 1.0}, "momentum lies in [0, 1); got 1.0"),
        ({"momentum": -0.1}, "momentum lies in [0, 1); got -0.1"),
        ({"momentum": math.nan}, "momentum lies in [0, 1); got nan"),
        ({"stop": 1}, "stop, a change of the map, lies in [0, 1); got 1"),
        ({"stop": -1e-9}, "stop, a change of the map, lies in [0, 1); got -1e-09"),
        ({"stop": math.nan}, "stop, a change of the map, lies in [0, 1); got nan"),
        ({"small_iterations": -1}, "small_iterations is at least 0; got -1"),
        ({"iterations": 0}, "iterations (T) is at least 1; for no climb use CAM; got 0"),
    ],
)
def test_impossible_schedules(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        advcam(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize("flip", [False, True])
def test_no_steps_below_scale_one_give_the_plain_map(flip: bool) -> None:
    classifier = Classifier.from_module(Sizes())
    scales = (0.5, 0.75)
    (expected,) = CAM(classifier, scales=scales, flip=flip)([picture()], [[0, 2]])
    method = AdvCAM(classifier, scales=scales, flip=flip, small_iterations=0, iterations=6)
    Sizes.seen.clear()
    (ours,) = method([picture()], [[0, 2]])
    views = 2 if flip else 1
    assert Sizes.seen == [(views, 3, 32, 36), (views, 3, 48, 54)]
    np.testing.assert_allclose(ours.maps, expected.maps, atol=1e-6)
    (climbed,) = AdvCAM(classifier, scales=scales, flip=flip, small_iterations=2)([picture()], [[0, 2]])
    assert np.abs(climbed.maps - expected.maps).max() > 0.01


def test_each_scale_adds_the_maps_of_its_steps() -> None:
    """The larger the scale's share of steps, the larger its weight in the sum."""
    network = ToyNetwork(1)
    method = AdvCAM(Classifier.from_module(network), scales=(0.5, 1.0), iterations=6, small_iterations=2, flip=True)
    (ours,) = method([picture()], [[1]])
    total = torch.zeros(16, 18, dtype=torch.float64)
    for scale, steps in ((0.5, 2), (1.0, 6)):
        maps = literal.paper(network, literal.pair_of(picture(), scale), 1, steps, xi=0.05, others="none").maps
        total += functional.interpolate(maps.sum(dim=0)[None, None], size=(16, 18), mode="bilinear")[0, 0]
    np.testing.assert_allclose(ours.maps[0], total / total.max(), atol=1e-6)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("options", [{"effort": "paper"}, {"variant": "published"}, {"stop": 0.9, "momentum": 0.5}])
def test_brief_is_one_step_at_one_scale(scale: float, options: dict[str, Any]) -> None:
    method = AdvCAM(Classifier.from_module(Sizes()), **options)
    before = (method.scales, method.settings)
    brief = method.brief(scale)
    assert (method.scales, method.settings) == before
    assert brief.scales == (scale,)
    assert brief.settings.steps_at(scale) == 1
    Sizes.seen.clear()
    brief([picture()], [[0]])
    assert Sizes.seen == [(2 if method.flip else 1, 3, round(64 * scale), round(72 * scale))] * 2


# The unperturbed pass is shared


def climbed(network: Counted, targets: Sequence[Sequence[int]], steps: int = 2, **options: Any) -> ScaleMaps:
    """Pictures with the classes of each."""
    owners = [p for p, classes in enumerate(targets) for _ in classes]
    classes = torch.tensor([label for labels in targets for label in labels])
    return climb(network, pairs(len(targets)), classes, ClimbSettings(**options), steps, "all", owners)


@pytest.mark.parametrize(
    ("targets", "passes"),
    [
        ([[0, 1], [2, 3]], [2, 4, 4]),
        ([[0, 1, 2]], [1, 3, 3]),
        ([[4], [4], [4]], [3, 3, 3]),
        ([[0, 1], [2]], [3, 3, 3]),
        ([[0, 1, 2], [2]], [4, 4, 4]),
    ],
)
def test_passes_of_pictures_with_several_classes(targets: list[list[int]], passes: list[int]) -> None:
    network = Counted()
    climbed(network, targets)
    assert network.passes == passes


def test_a_method_shares_the_first_pass_of_each_picture() -> None:
    method = AdvCAM(Classifier.from_module(Sizes()), scales=(1.0,), iterations=2)
    Sizes.seen.clear()
    method([picture(seed=seed) for seed in range(3)], [[0, 1], [2, 0], [1, 2]])
    assert [shape[0] for shape in Sizes.seen] == [3, 6, 6]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_pictures_and_classes_give_what_each_gives_alone(data: st.DataObject) -> None:
    """In any order, with equally many classes or not, and pictures without a class among them."""
    least = data.draw(st.integers(0, 2), "classes of each, at least")
    most = data.draw(st.integers(max(1, least), 3), "classes of each, at most")
    labels = st.lists(st.integers(0, CLASSES - 1), unique=True, min_size=least, max_size=most)
    targets = data.draw(st.lists(labels, min_size=1, max_size=3).filter(any), "classes")
    triples = data.draw(st.permutations([(p, c) for p, classes in enumerate(targets) for c in classes]), "order")
    network, views = Counted(SEED), pairs(len(targets))
    chosen = replace(CLIMB, momentum=0.5, stop=data.draw(st.sampled_from([0.0, 0.03]), "stop"))
    classes = torch.tensor([label for _, label in triples])
    together = climb(network, views, classes, chosen, 3, "all", [p for p, _ in triples])
    equal = len({len(labels) for labels in targets}) == 1
    assert network.passes[0] == (len(targets) if equal else len(triples))
    assert together.maps is not None
    assert together.inputs is not None
    for n, (p, label) in enumerate(triples):
        alone = climb(network, views[p : p + 1], torch.tensor([label]), chosen, 3, "all")
        assert alone.maps is not None
        assert alone.inputs is not None
        close(together.total[n], alone.total[0])
        close(together.maps[:, n], alone.maps[:, 0])
        close(together.scores[:, n], alone.scores[:, 0])
        close(together.inputs[:, n], alone.inputs[:, 0])
