"""Landscapes of a network that is linear in the picture, where score and loss are known in closed form."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from advcam import AdvCAM, Classifier, ClimbSettings, SettingError, Trajectory
from advcam.analysis.landscape import (
    attack_direction,
    bend,
    classification_loss,
    climbed_pictures,
    coordinates,
    gradient_direction,
    profile,
    random_direction,
    scaled_to,
    surface,
)
from advcam.attribution.climb import climb


class LinearNetwork(nn.Module):
    """A convolution without activation, global average pooling, a linear head: scores are linear in the picture."""

    def __init__(self, curved: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.features = nn.Conv2d(3, 5, 2, stride=2)
            self.head = nn.Linear(5, 3)
        self.activation = nn.Softplus() if curved else nn.Identity()
        self.double()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.activation(self.features(inputs)).mean(dim=(2, 3)))


@pytest.fixture
def linear() -> Classifier:
    return Classifier.from_module(LinearNetwork())


@pytest.fixture
def curved() -> Classifier:
    return Classifier.from_module(LinearNetwork(curved=True))


@pytest.fixture
def picture() -> Tensor:
    return torch.randn((3, 34, 38), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def slope(classifier: Classifier, class_id: int, shape: torch.Size) -> Tensor:
    """d y_c / d x of the linear network, written out: every window of 2 x 2 pixels sees the same kernel."""
    network = classifier.module
    kernel = torch.einsum("f,fcij->cij", network.head.weight[class_id], network.features.weight).detach()
    positions = shape[1] // 2 * (shape[2] // 2)
    return kernel.repeat(1, shape[1] // 2, shape[2] // 2) / positions


def softmax_loss(scores: np.ndarray, class_id: int) -> np.ndarray:
    return np.log(np.exp(scores).sum(axis=-1)) - scores[..., class_id]


def scores_on_plane(classifier: Classifier, picture: Tensor, axes: list[Tensor], grid: np.ndarray) -> np.ndarray:
    """y(x + a u + b v) = y(x) + a <g, u> + b <g, v>, (P, Q, K)."""
    slopes = [slope(classifier, k, picture.shape) for k in range(3)]
    start = classifier.module(picture[None])[0].detach().numpy()
    first, second = ([(g * axis).sum().item() for g in slopes] for axis in axes)
    return start + grid[:, None, None] * np.array(first) + grid[None, :, None] * np.array(second)


def test_the_surface_of_a_linear_network_is_its_closed_form(linear: Classifier, picture: Tensor):
    axes = [random_direction(picture, 3) * 4, random_direction(picture, 4) * 4]
    grid = coordinates(7)
    found = surface(linear, picture, 1, *axes, grid, batch_size=5)
    expected = scores_on_plane(linear, picture, axes, grid)
    np.testing.assert_allclose(found.score, expected[..., 1], atol=1e-10)
    np.testing.assert_allclose(found.loss, softmax_loss(expected, 1), atol=1e-10)
    assert np.ptp(found.score) > 0.05
    np.testing.assert_array_equal(found.first, grid)


def test_a_profile_is_the_middle_column_of_a_surface(curved: Classifier, picture: Tensor):
    first = gradient_direction(curved, picture, 2) * 50
    grid = coordinates(9)
    plane = surface(curved, picture, 2, first, random_direction(first, 0), grid)
    line = profile(curved, picture, 2, first, grid, batch_size=4)
    assert line.loss.shape == (9, 1)
    np.testing.assert_allclose(line.loss[:, 0], plane.loss[:, 4], atol=1e-12)
    np.testing.assert_allclose(line.score[:, 0], plane.score[:, 4], atol=1e-12)


def test_batches_do_not_change_a_surface(curved: Classifier, picture: Tensor):
    first, grid = random_direction(picture, 0), coordinates(5)
    one, all_at_once = (surface(curved, picture, 0, first, picture, grid, batch_size=n) for n in (1, 25))
    np.testing.assert_allclose(one.loss, all_at_once.loss, atol=1e-12)


def test_a_multi_label_classifier_has_the_soft_margin_loss(picture: Tensor):
    classifier = Classifier.from_module(LinearNetwork(), multi_label=True)
    line = profile(classifier, picture, 0, gradient_direction(classifier, picture, 0) * 1e3, coordinates(5))
    np.testing.assert_allclose(line.loss, np.log1p(np.exp(-line.score)), atol=1e-12)


def test_loss_of_scores_by_hand():
    scores = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    # softmax of (log 3, 0) is (3/4, 1/4); sigmoid of log 3 is 3/4, of 0 is 1/2.
    torch.testing.assert_close(classification_loss(scores, 0, False), torch.tensor([math.log(4 / 3), math.log(2)]))
    torch.testing.assert_close(classification_loss(scores, 0, True), torch.tensor([math.log(4 / 3), math.log(2)]))
    torch.testing.assert_close(classification_loss(scores, 1, False)[0], torch.tensor(math.log(4.0)))


def test_loss_stays_finite_where_probabilities_do_not():
    scores = torch.tensor([[-400.0, 400.0]])
    assert classification_loss(scores, 0, False).item() == pytest.approx(800)
    assert classification_loss(scores, 0, True).item() == pytest.approx(400)


def test_the_gradient_of_a_linear_score_is_its_slope(linear: Classifier, picture: Tensor):
    torch.testing.assert_close(gradient_direction(linear, picture, 2), slope(linear, 2, picture.shape))


@pytest.mark.parametrize("step_norm", ["max", "rms", "raw"])
@pytest.mark.parametrize("flip", [True, False])
def test_the_attack_on_a_linear_score_is_the_climb_backwards(
    linear: Classifier, picture: Tensor, step_norm: str, flip: bool
):
    settings = ClimbSettings(iterations=3, step_size=0.3, penalty=0, step_norm=step_norm)  # type: ignore[arg-type]
    views = torch.stack([picture, picture.flip(-1)] if flip else [picture])[None]
    with linear.frozen():
        inputs = climb(linear, views, torch.tensor([1]), settings, 3, "all").inputs
    assert inputs is not None
    attack = attack_direction(linear, picture, 1, settings, 3, flip)
    torch.testing.assert_close(attack, -(inputs[-1, 0] - picture))
    assert attack.abs().max() > 1e-4
    # Each of the three steps is xi times the slope, normalised.
    expected = slope(linear, 1, picture.shape)
    expected = expected / {"max": expected.abs().max(), "rms": expected.square().mean().sqrt(), "raw": 1}[step_norm]
    torch.testing.assert_close(attack, -3 * 0.3 * expected)


def test_the_attack_lowers_the_score_and_knows_no_regulariser(curved: Classifier, picture: Tensor):
    plain = ClimbSettings(iterations=4, step_size=0.1, penalty=0)
    regularised = ClimbSettings(iterations=4, step_size=0.1, penalty=9, other_classes="all", score="relu_gap")
    attack = attack_direction(curved, picture, 0, plain, 4)
    torch.testing.assert_close(attack_direction(curved, picture, 0, regularised, 4), attack)
    line = profile(curved, picture, 0, attack, coordinates(5))
    assert (np.diff(line.score[:, 0]) < 0).all()


def test_a_network_whose_head_is_not_linear_can_be_attacked(picture: Tensor):
    network = LinearNetwork()
    network.head = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    classifier = Classifier.from_module(network, feature_layer="features")
    attack = attack_direction(classifier, picture, 2, ClimbSettings(step_size=0.1), 3)
    scores = network(torch.stack([picture, picture + attack]))[:, 2]
    assert scores[1] < scores[0] - 1e-4


def test_climbed_pictures_are_the_ends_of_the_recorded_climb(linear: Classifier):
    pictures = np.random.default_rng(0).random((4, 3, 6, 8)).astype(np.float32)
    empty = np.zeros((4, 1, 1), dtype=np.float32)
    start, climbed = climbed_pictures(Trajectory(0, 1.0, empty, empty[:, 0], pictures), linear)
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (linear.mean, linear.std))
    np.testing.assert_allclose(start, (pictures[0] - mean) / std, atol=1e-12)
    np.testing.assert_allclose(climbed, (pictures[-1].astype(float) - pictures[0]) / std, atol=1e-12)
    with pytest.raises(SettingError, match='record the climb with record="all"'):
        climbed_pictures(Trajectory(0, 1.0, empty, empty[:, 0]), linear)


def test_the_climb_direction_ends_at_the_picture_whose_score_was_recorded(curved: Classifier):
    image = np.random.default_rng(2).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    (result,) = AdvCAM(curved, iterations=3, scales=(1,), flip=False)([image], [[1]], record="all")
    (trajectory,) = result.trajectories
    start, climbed = climbed_pictures(trajectory, curved)
    line = profile(curved, start, 1, climbed, coordinates(5))
    assert line.score[2, 0] == pytest.approx(trajectory.scores[0, 1], abs=1e-5)
    assert line.score[4, 0] == pytest.approx(trajectory.scores[-1, 1], abs=1e-5)
    assert line.score[4, 0] > line.score[2, 0] + 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_a_random_direction_is_orthogonal_as_long_and_seeded(seed: int):
    axis = torch.randn((3, 9, 7), generator=torch.Generator().manual_seed(99), dtype=torch.float64) * 5
    direction = random_direction(axis, seed)
    assert (direction * axis).sum().item() == pytest.approx(0, abs=1e-10)
    assert direction.norm().item() == pytest.approx(axis.norm().item())
    torch.testing.assert_close(direction, random_direction(axis, seed))
    assert not torch.allclose(direction, random_direction(axis, seed + 1))


def test_a_climb_of_no_length_has_flat_surroundings(linear: Classifier, picture: Tensor):
    nothing = torch.zeros_like(picture)
    assert not random_direction(nothing, 0).any()
    assert not scaled_to(nothing, picture).any()
    plane = surface(linear, picture, 0, nothing, random_direction(nothing, 0), coordinates(5))
    assert np.ptp(plane.loss) == 0


def test_scaling_keeps_the_direction():
    direction, reference = torch.tensor([3.0, -4.0]), torch.tensor([0.0, 10.0])
    torch.testing.assert_close(scaled_to(direction, reference), torch.tensor([6.0, -8.0]))


@pytest.mark.parametrize("points", [3, 4, 8])
def test_coordinates_need_a_middle(points: int):
    with pytest.raises(SettingError, match=f"odd number of points a side, at least 5; got {points}"):
        coordinates(points)


def test_coordinates_by_hand():
    np.testing.assert_array_equal(coordinates(5), [-1, -0.5, 0, 0.5, 1])


@pytest.mark.parametrize("points", [9, 17, 41])
def test_bends_by_hand(points: int):
    grid = coordinates(points)
    straight, parabola = bend(grid, 3 * grid + 1), bend(grid, grid**2)
    assert straight.change == pytest.approx(3)
    assert (straight.at_origin, straight.sharpest) == pytest.approx((0, 0), abs=1e-10)
    # (a + h)^2 - 2 a^2 + (a - h)^2 = 2 h^2 at every a.
    assert (parabola.change, parabola.at_origin, parabola.sharpest) == pytest.approx((1, 2, 2))
    # A kink at 0.5 from slope 0 to slope 1: the second difference there is h / h^2 = 1 / 0.25 on every grid.
    kink = bend(grid, np.maximum(grid - 0.5, 0))
    assert (kink.change, kink.at_origin, kink.sharpest) == pytest.approx((0.5, 0, 4), abs=1e-9)


def test_what_lies_behind_does_not_bend_what_lies_ahead():
    grid = coordinates(41)
    found = bend(grid, np.maximum(-grid, 0) ** 2)
    # Behind 0 the parabola, ahead nothing: at 0 the second difference sees one neighbour, h^2 / h^2 = 1.
    assert (found.change, found.at_origin, found.sharpest) == pytest.approx((0, 1, 0))


@pytest.mark.parametrize("points", [5, 7, 21])
def test_bends_need_their_interval_on_the_grid(points: int):
    with pytest.raises(SettingError, match=r"second differences need 0\.25 among the coordinates"):
        bend(coordinates(points), np.zeros(points))


def test_climb_and_attack_of_a_linear_score_bend_alike_at_the_picture_but_not_ahead(
    linear: Classifier, picture: Tensor
):
    """The cross entropy of a well classified picture: why `at_origin` alone cannot test the paper's claim."""
    class_id = int(linear.module(picture[None]).argmax())
    axis = scaled_to(gradient_direction(linear, picture, class_id), 40 * picture)
    grid = coordinates(41)
    ahead, back = (bend(grid, profile(linear, picture, class_id, d, grid).loss[:, 0]) for d in (axis, -axis))
    assert ahead.at_origin == pytest.approx(back.at_origin)
    assert back.change > 10 * -ahead.change > 0


@pytest.fixture
def counted(linear: Classifier) -> Iterator[Classifier]:
    linear.module.train()
    yield linear
    assert linear.module.training
    assert all(parameter.requires_grad for parameter in linear.module.parameters())
    assert all(parameter.grad is None for parameter in linear.module.parameters())
    assert not any(layer._forward_hooks or layer._backward_hooks for layer in linear.module.modules())


def test_the_network_is_left_as_it_was(counted: Classifier, picture: Tensor):
    gradient = gradient_direction(counted, picture, 0)
    attack = attack_direction(counted, picture, 0, ClimbSettings(), 2)
    surface(counted, picture, 0, gradient, random_direction(gradient, 0), coordinates(5))
    assert not gradient.requires_grad
    assert not attack.requires_grad


def test_a_caller_in_inference_mode_gets_the_same(curved: Classifier, picture: Tensor):
    settings = ClimbSettings()
    expected = attack_direction(curved, picture, 0, settings, 2), gradient_direction(curved, picture, 0)
    with torch.no_grad():
        torch.testing.assert_close(attack_direction(curved, picture, 0, settings, 2), expected[0])
        torch.testing.assert_close(gradient_direction(curved, picture, 0), expected[1])


def test_no_graph_is_built_by_a_surface(curved: Classifier, picture: Tensor, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def spy(inputs: Tensor) -> object:
        response = type(curved).respond(curved, inputs)
        seen.append((torch.is_grad_enabled(), response.scores.requires_grad, len(inputs)))
        return response

    monkeypatch.setattr(curved, "respond", spy)
    profile(curved, picture, 0, picture, coordinates(7), batch_size=3)
    assert seen == [(False, False, 3), (False, False, 3), (False, False, 1)]


def test_softplus_is_what_the_curved_network_uses(curved: Classifier, picture: Tensor):
    """The fixture bends: otherwise the tests above would say nothing of a curved network."""
    features = functional.softplus(curved.module.features(picture[None])).mean(dim=(2, 3))
    torch.testing.assert_close(curved.module(picture[None]), curved.module.head(features))
    line = profile(curved, picture, 0, gradient_direction(curved, picture, 0) * 1e4, coordinates(9))
    assert abs(bend(coordinates(9), line.score[:, 0]).sharpest) > 1e-3
