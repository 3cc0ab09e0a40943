"""What a climb records, and networks whose accumulated map is not the one that is climbed."""

import numpy as np
import pytest
import torch
from literal import ToyNetwork
from PIL import Image
from torch import Tensor
from torch.nn import functional

from advcam import CAM, AdvCAM, Classifier
from advcam.attribution.climb import climb
from advcam.attribution.response import DenseResponse, Response
from advcam.attribution.settings import ClimbSettings
from advcam.types import Attribution

SCALES = (0.5, 1.0)


@pytest.fixture(scope="module")
def network() -> Classifier:
    return Classifier.from_module(ToyNetwork(4))


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    coarse = np.random.default_rng(3).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((76, 68), Image.Resampling.BICUBIC)


def climbed(network: Classifier, picture: Image.Image, record: str, **settings: object) -> Attribution:
    method = AdvCAM(network, iterations=5, small_iterations=5, scales=SCALES, **settings)  # type: ignore[arg-type]
    return method([picture], [[0, 2]], record=record)[0]  # type: ignore[arg-type]


def test_nothing_is_kept_unless_asked(network: Classifier, picture: Image.Image) -> None:
    result = climbed(network, picture, "none")
    assert result.steps is None
    assert result.trajectories == ()


def test_recording_changes_no_map(network: Classifier, picture: Image.Image) -> None:
    plain = climbed(network, picture, "none")
    for record in ("maps", "all"):
        np.testing.assert_array_equal(climbed(network, picture, record).maps, plain.maps)


@pytest.mark.parametrize("record", ["maps", "all"])
def test_shapes(network: Classifier, picture: Image.Image, record: str) -> None:
    result = climbed(network, picture, record)
    assert result.steps is not None
    assert result.steps.shape == (2, 6, 17, 19)
    assert [(t.class_id, t.scale) for t in result.trajectories] == [(0, 0.5), (0, 1.0), (2, 0.5), (2, 1.0)]
    for trajectory, (width, height) in zip(result.trajectories, [(38, 34), (76, 68)] * 2, strict=True):
        assert trajectory.maps.shape == (6, -(-height // 4), -(-width // 4))
        assert trajectory.scores.shape == (6, 3)
        if record == "all":
            assert trajectory.pictures is not None
            assert trajectory.pictures.shape == (6, 3, height, width)
        else:
            assert trajectory.pictures is None


def test_first_step_is_cam_and_last_is_the_result(network: Classifier, picture: Image.Image) -> None:
    result = climbed(network, picture, "maps")
    (cam,) = CAM(network, scales=SCALES, flip=False)([picture], [[0, 2]])
    assert result.steps is not None
    np.testing.assert_allclose(result.steps[:, 0], cam.maps, atol=1e-6)
    np.testing.assert_allclose(result.steps[:, -1], result.maps, atol=1e-6)
    np.testing.assert_allclose(result.scores, cam.scores, atol=1e-6)
    assert np.abs(result.steps[:, 0] - result.steps[:, -1]).max() > 1e-3


def test_the_shortened_scale_of_the_published_variant_waits_at_its_last_step(
    network: Classifier, picture: Image.Image
) -> None:
    method = AdvCAM(network, variant="published", iterations=12, scales=SCALES)
    (result,) = method([picture], [[0]], record="maps")
    assert [len(trajectory.maps) for trajectory in result.trajectories] == [6, 12]
    assert result.steps is not None
    assert result.steps.shape[1] == 12
    np.testing.assert_allclose(result.steps[0, -1], result.maps[0], atol=1e-6)


def test_the_score_rises_at_every_step(network: Classifier, picture: Image.Image) -> None:
    result = climbed(network, picture, "maps", other_classes="none", penalty=0.0, step_size=0.02)
    for trajectory in result.trajectories:
        assert (np.diff(trajectory.scores[:, trajectory.class_id]) > 0).all()


def test_pictures_begin_with_the_picture_itself(network: Classifier, picture: Image.Image) -> None:
    (trajectory,) = (t for t in climbed(network, picture, "all").trajectories if (t.class_id, t.scale) == (0, 1.0))
    assert trajectory.pictures is not None
    np.testing.assert_allclose(trajectory.pictures[0], np.asarray(picture).transpose(2, 0, 1) / 255, atol=1e-6)
    moved = np.abs(np.diff(trajectory.pictures, axis=0)) / np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    assert (moved.max(axis=(1, 2, 3)) <= 0.05 + 1e-6).all()
    assert moved.max() > 0.049


class Refining:
    """SEAM in small: climbs one map, accumulates a refined and larger one; output 0 is the background."""

    def __init__(self, competing: bool = False) -> None:
        self.competing = torch.tensor([competing, True, True])

    def respond(self, inputs: Tensor) -> Response:
        weight = torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=inputs.dtype)
        maps = functional.avg_pool2d(torch.einsum("bchw,kc->bkhw", inputs, weight), 2)
        return DenseResponse(maps, functional.interpolate(maps - 0.4, scale_factor=3.0), competing=self.competing)


def test_the_accumulated_map_may_differ_from_the_climbed_one() -> None:
    views = torch.rand((2, 2, 3, 6, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings = ClimbSettings(step_size=0.1, penalty=0.0, other_classes="all")
    result = climb(Refining(), views, torch.tensor([1, 2]), settings, 3, "all")
    assert result.maps is not None
    assert result.inputs is not None
    assert result.total.shape == (2, 9, 12)
    torch.testing.assert_close(result.total, result.maps.sum(dim=0))
    expected = functional.avg_pool2d(views[0, :, 0], 2) - 0.4
    larger = functional.interpolate(expected[:, None], scale_factor=3.0)[:, 0].relu()
    torch.testing.assert_close(result.maps[0, 0], larger[0] + larger[1].flip(-1))
    # The step follows the climbed map: up in red, down in green (a rival), and blue (the background) is left alone.
    step = (result.inputs[1] - result.inputs[0])[0]
    torch.testing.assert_close(step.mean(dim=(1, 2)), torch.tensor([0.1, -0.1, 0.0], dtype=torch.float64))


def test_a_background_that_competes_would_be_pushed_down() -> None:
    views = torch.rand((1, 1, 3, 6, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = climb(
        Refining(competing=True),
        views,
        torch.tensor([1]),
        ClimbSettings(step_size=0.1, penalty=0.0, other_classes="all"),
        1,
        "all",
    )
    assert result.inputs is not None
    step = (result.inputs[1] - result.inputs[0])[0]
    torch.testing.assert_close(step.mean(dim=(1, 2)), torch.tensor([0.05, -0.05, -0.1], dtype=torch.float64))


def test_the_penalty_watches_the_climbed_map() -> None:
    """A map that is accumulated but not watched leaves the climb as it is."""

    class Constant(Refining):
        def respond(self, inputs: Tensor) -> Response:
            response = super().respond(inputs)
            return DenseResponse(response.score_maps(), torch.ones(len(inputs), 3, 2, 2, dtype=inputs.dtype))

    class Own(Refining):
        def respond(self, inputs: Tensor) -> Response:
            return DenseResponse(super().respond(inputs).score_maps())

    views = torch.rand((1, 1, 3, 6, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings = ClimbSettings(penalty=5.0, other_classes="none")
    results = [climb(network, views, torch.tensor([1]), settings, 4, "all") for network in (Constant(), Own())]
    torch.testing.assert_close(results[0].inputs, results[1].inputs)
    torch.testing.assert_close(results[0].total, torch.full((1, 2, 2), 5.0, dtype=torch.float64))
