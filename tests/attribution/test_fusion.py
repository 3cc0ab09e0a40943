"""Joining the maps of several scales: both rules against their formulas, written out in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from literal import ToyNetwork
from numpy.typing import NDArray
from PIL import Image

from advcam import CAM, AdvCAM, Classifier, SettingError
from advcam.attribution.fusion import Fusion, fuse_scales, resize
from advcam.types import Attribution

SCALES = (0.5, 1.0, 2.0)
values = st.lists(st.floats(0, 1e4), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def network() -> Classifier:
    return Classifier.from_module(ToyNetwork(4))


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    coarse = np.random.default_rng(3).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((76, 68), Image.Resampling.BICUBIC)


def position(sums: list[float], counts: list[int], fusion: Fusion) -> float:
    """`fuse_scales` of maps with one position."""
    maps = [torch.tensor([[value]], dtype=torch.float64) for value in sums]
    return float(fuse_scales(maps, counts, fusion))


def literal(attribution: Attribution, class_id: int, fusion: str) -> NDArray[np.float64]:
    """The fused map from the recorded steps, by the formula, a position at a time."""
    grid = (attribution.maps.shape[1], attribution.maps.shape[2])
    recorded = [t.maps for t in attribution.trajectories if t.class_id == class_id]
    sums = [resize(torch.from_numpy(maps.sum(axis=0)), grid).numpy().astype(np.float64) for maps in recorded]
    fused = np.zeros(grid)
    for row, column in np.ndindex(grid):
        here = [float(one[row, column]) for one in sums]
        if fusion == "sum":
            fused[row, column] = sum(here)
        else:
            logs = [math.log(1 + total / len(maps)) for total, maps in zip(here, recorded, strict=True)]
            fused[row, column] = math.exp(sum(logs) / len(logs)) - 1
    return np.asarray(fused / fused.max())


@pytest.mark.parametrize("fusion", ["sum", "geometric"])
@pytest.mark.parametrize("method", [CAM, AdvCAM])
def test_a_method_joins_its_scales_by_the_formula(
    network: Classifier, picture: Image.Image, method: type[CAM] | type[AdvCAM], fusion: Fusion
):
    steps = {"iterations": 3} if method is AdvCAM else {}
    attribute = method(network, scales=SCALES, fusion=fusion, **steps)
    (result,) = attribute([picture], [[0, 2]], record="maps")
    if method is AdvCAM:
        for row, class_id in enumerate(result.class_ids):
            np.testing.assert_allclose(result.maps[row], literal(result, class_id, fusion), atol=1e-5)
            assert result.steps is not None
            np.testing.assert_allclose(result.steps[row, -1], result.maps[row], atol=1e-6)
    else:
        # A climb's step 0 is the plain map, so the climb's record is a second opinion on CAM.
        climb = AdvCAM(network, scales=SCALES, flip=True, fusion=fusion, iterations=1)
        (climbed,) = climb([picture], [[0, 2]], record="maps")
        assert climbed.steps is not None
        np.testing.assert_allclose(result.maps, climbed.steps[:, 0], atol=1e-6)


def test_the_two_rules_differ_where_scales_disagree_and_only_there(network: Classifier, picture: Image.Image):
    def maps(scales: tuple[float, ...], fusion: Fusion) -> NDArray[np.float32]:
        return AdvCAM(network, scales=scales, fusion=fusion, iterations=3)([picture], [[0]])[0].maps

    np.testing.assert_allclose(maps((1.0,), "sum"), maps((1.0,), "geometric"), atol=1e-6)
    assert np.abs(maps(SCALES, "sum") - maps(SCALES, "geometric")).max() > 1e-3


def test_scales_are_added_up_unless_asked_otherwise(network: Classifier):
    assert AdvCAM(network).fusion == AdvCAM(network, variant="published").fusion == CAM(network).fusion == "sum"
    assert AdvCAM(network, variant="published", fusion="geometric").fusion == "geometric"


def test_one_glaring_scale_decides_a_sum_and_not_a_geometric_mean():
    agreed, glaring = [3.0, 3.0, 3.0], [10.0, 0.0, 0.0]
    once = [1, 1, 1]
    assert position(glaring, once, "sum") > position(agreed, once, "sum")
    assert position(glaring, once, "geometric") < position(agreed, once, "geometric")


def test_a_scale_of_fewer_steps_weighs_as_much_as_the_others():
    assert position([8.0, 2.0], [4, 1], "geometric") == pytest.approx(2.0, abs=1e-12)
    assert position([8.0, 2.0], [4, 1], "sum") == 10.0


@given(values)
def test_a_geometric_mean_lies_between_its_terms_in_any_order(terms: list[float]):
    counts = [1] * len(terms)
    fused = position(terms, counts, "geometric")
    assert min(terms) * (1 - 1e-9) - 1e-9 <= fused <= max(terms) * (1 + 1e-9) + 1e-9
    assert fused == pytest.approx(position(terms[::-1], counts, "geometric"), rel=1e-9, abs=1e-12)


@given(values, st.floats(1e-3, 1e3))
def test_more_evidence_never_lowers_a_position(terms: list[float], more: float):
    counts = [1] * len(terms)
    for fusion in ("sum", "geometric"):
        raised = [terms[0] + more, *terms[1:]]
        assert position(raised, counts, fusion) >= position(terms, counts, fusion)


def test_maps_far_below_one_are_averaged():
    terms = [1e-7, 3e-7]
    assert position(terms, [1, 1], "geometric") == pytest.approx(2e-7, rel=1e-6)


def test_an_empty_map_stays_empty():
    empty = torch.zeros(3, 4)
    for fusion in ("sum", "geometric"):
        assert not fuse_scales([empty, empty], [9, 9], fusion).any()


def test_an_unknown_rule_is_refused(network: Classifier):
    with pytest.raises(SettingError, match='fusion is "sum" or "geometric"; got \'mean\''):
        AdvCAM(network, fusion="mean")  # type: ignore[arg-type]
