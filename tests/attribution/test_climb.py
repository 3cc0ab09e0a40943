"""The climb against the literal reference, each switch by a closed form, and what a triple may not see of its batch."""

import math
from collections.abc import Callable
from dataclasses import replace

import literal
import numpy as np
import pytest
import torch
from literal import ToyNetwork
from PIL import Image
from torch import Tensor

from advcam import CAM, AdvCAM, Classifier
from advcam.attribution.climb import climb
from advcam.attribution.response import DenseResponse, Response
from advcam.attribution.settings import ClimbSettings
from advcam.errors import ModelError, SettingError

PAPER = ClimbSettings(iterations=6)
PLAIN = ClimbSettings(iterations=1, other_classes="none", penalty=0.0)


def picture(width: int = 72, height: int = 64, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def classifier(network: ToyNetwork) -> Classifier:
    return Classifier.from_module(network)


def close(ours: Tensor, theirs: Tensor, atol: float = 1e-10) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


class MultilayerHead(ToyNetwork):
    """Not linear in the mean of its features."""

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.sin(5 * self.features(inputs).mean(dim=(2, 3))))


class Pixels:
    """A network whose class maps are weighted sums of the colours: its gradients are known in closed form."""

    def __init__(self, weight: list[list[float]], competing: list[bool] | None = None) -> None:
        self.weight = torch.tensor(weight, dtype=torch.float64)
        self.competing = None if competing is None else torch.tensor(competing)
        self.calls = 0

    def respond(self, inputs: Tensor) -> Response:
        self.calls += 1
        maps = torch.einsum("bchw,kc->bkhw", inputs, self.weight)
        return DenseResponse(maps, competing=self.competing, positive_weights=(self.weight > 0).sum(dim=1))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def last_input(network: Pixels, views: Tensor, settings: ClimbSettings, steps: int = 1, label: int = 0) -> Tensor:
    """The picture of the first triple after so many steps, (3, H, W)."""
    inputs = climb(network, views, torch.full((len(views),), label), settings, steps, "all").inputs
    assert inputs is not None
    return inputs[-1, 0]


# The whole method against the literal reference


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("steps", [1, 5, 12])
def test_published_is_the_authors_loop(seed: int, bias: bool, steps: int) -> None:
    network = ToyNetwork(seed, bias=bias)
    pair = literal.pair_of(picture(seed=seed), 1.0)
    expected = literal.published(network, pair, seed % 3, steps)
    ours = climb(classifier(network), pair[None], torch.tensor([seed % 3]), ClimbSettings.published(), steps - 1, "all")
    assert ours.maps is not None
    assert ours.inputs is not None
    close(ours.maps[:, 0], expected.maps)
    close(ours.inputs[:, 0], expected.pairs[:, 0])
    close(ours.total[0], expected.maps.sum(dim=0))
    assert expected.maps[0].max() > 0, "the case says nothing about an empty map"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("others", ["all", "none", "logsumexp", 1, 2])
def test_paper_is_the_equations(seed: int, bias: bool, others: str | int) -> None:
    network = ToyNetwork(seed, classes=4, bias=bias)
    pair = literal.pair_of(picture(seed=seed), 0.75)
    expected = literal.paper(network, pair, seed % 4, 6, xi=0.05, lamda=2.0, tau=0.4, others=others)
    settings = ClimbSettings(step_size=0.05, penalty=2.0, mask_threshold=0.4, other_classes=others)  # type: ignore[arg-type]
    ours = climb(classifier(network), pair[None], torch.tensor([seed % 4]), settings, 6, "all")
    assert ours.maps is not None
    assert ours.inputs is not None
    close(ours.maps[:, 0], expected.maps)
    close(ours.inputs[:, 0], expected.pairs[:, 0])
    close(ours.total[0], expected.maps.sum(dim=0))


@pytest.mark.parametrize("steps", [4, 8, 12])
def test_published_method_with_its_scales_its_shortening_and_its_leaked_weight(steps: int) -> None:
    network = ToyNetwork(1)
    image = picture(74, 66)
    (ours,) = AdvCAM(classifier(network), variant="published", iterations=steps)([image], [[0, 2]])
    for n, label in enumerate((0, 2)):
        expected = literal.published_cam(network, image, label, steps)
        np.testing.assert_allclose(ours.maps[n], expected.detach().numpy(), atol=1e-6)


def test_shortening_and_weights_of_the_published_code() -> None:
    settings = ClimbSettings.published()
    assert [settings.steps_at(s) for s in (0.5, 1.0, 1.5, 2.0)] == [12, 26, 26, 26]
    assert settings.map_weight((0.5, 1.0)) == 2
    assert settings.map_weight((1.0, 2.0)) == 1
    assert [replace(settings, iterations=t).steps_at(0.5) for t in (4, 5, 6, 8, 10, 11, 12)] == [3, 4, 4, 4, 4, 4, 5]
    assert replace(settings, iterations=10).map_weight((0.5, 1.0)) == 1
    paper = ClimbSettings.paper()
    assert [paper.steps_at(s) for s in (0.5, 1.0, 2.0)] == [8, 8, 8]
    assert paper.map_weight((0.5, 1.0)) == 1


# A batch gives what its triples give alone


@pytest.mark.parametrize("settings", [PAPER, ClimbSettings.published(), replace(PAPER, step_norm="rms")])
def test_climb_of_a_batch_is_the_climb_of_each_triple(settings: ClimbSettings) -> None:
    network = classifier(ToyNetwork(2, classes=4, bias=True))
    triples = [(seed, label) for seed in range(3) for label in (0, 1, 3)]
    views = torch.stack([literal.pair_of(picture(seed=seed), 1.0) for seed, _ in triples])
    labels = torch.tensor([label for _, label in triples])
    together = climb(network, views, labels, settings, 8, "all")
    assert together.inputs is not None
    for n in range(len(triples)):
        alone = climb(network, views[n : n + 1], labels[n : n + 1], settings, 8, "all")
        assert alone.inputs is not None
        close(together.total[n], alone.total[0])
        close(together.inputs[:, n], alone.inputs[:, 0])
        close(together.scores[:, n], alone.scores[:, 0])


@pytest.mark.parametrize("variant", ["paper", "published"])
def test_pictures_of_many_sizes_in_one_call(variant: str) -> None:
    network = classifier(ToyNetwork(3, classes=4))
    images = [picture(72, 64, 0), picture(64, 72, 1), picture(72, 64, 2), picture(80, 66, 3)]
    targets = [[0, 1, 2], [3], [2, 0], [1, 3]]
    settings = {"variant": variant, "iterations": 12, "scales": (0.5, 1.0)}
    together = AdvCAM(network, batch_size=3, **settings)(images, targets)  # type: ignore[arg-type]
    for image, classes, result in zip(images, targets, together, strict=True):
        assert result.class_ids == tuple(classes)
        for n, label in enumerate(classes):
            (alone,) = AdvCAM(network, batch_size=1, **settings)([image], [[label]])  # type: ignore[arg-type]
            np.testing.assert_allclose(result.maps[n], alone.maps[0], atol=1e-6)
            np.testing.assert_allclose(result.scores[n], alone.scores[0], atol=1e-6)


# Every switch


def test_step_norms() -> None:
    views = noise(1, 1, 3, 4, 5)
    weight = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64).view(3, 1, 1)
    network = Pixels([[1.0, -2.0, 0.5]])
    expected = {
        "max": weight / 2,
        "rms": weight / math.sqrt((1 + 4 + 0.25) / 3),
        "raw": weight / 20,
    }
    for norm, gradient in expected.items():
        settings = replace(PLAIN, step_norm=norm, step_size=0.3)  # type: ignore[arg-type]
        close(last_input(network, views, settings), views[0, 0] + 0.3 * gradient)


def test_one_norm_for_both_views() -> None:
    """The views of a triple are one problem: the step is divided by the largest gradient of both."""
    network = Pixels([[1.0, 1.0, 1.0]])
    views = noise(1, 2, 3, 4, 4) - 0.5
    settings = replace(PLAIN, score="relu_gap", step_size=0.08)
    stepped = last_input(network, views, settings) - views[0, 0]
    positive = (views[0, 0].sum(dim=0) > 0).double().expand(3, 4, 4)
    close(stepped, 0.08 * positive)
    silent = torch.stack([-noise(3, 4, 4), noise(3, 4, 4)])[None]
    close(last_input(network, silent, settings), silent[0, 0])


def test_running_clamp_keeps_the_range_of_the_triple() -> None:
    network = Pixels([[1.0, -1.0, 0.0]])
    views = noise(2, 1, 3, 4, 4)
    views[1] *= 5
    free = last_input(network, views, replace(PLAIN, step_size=0.5))
    clamped = last_input(network, views, replace(PLAIN, step_size=0.5, clamp="running"))
    close(clamped, free.clamp(views[0].min(), views[0].max()))
    assert (free != clamped).any()


def test_last_map() -> None:
    assert ClimbSettings(iterations=9).steps_at(1.0) == 9
    assert ClimbSettings(iterations=9, last_map=False).steps_at(1.0) == 8


def test_score_is_the_logit_or_the_rectified_mean() -> None:
    network, views = Pixels([[1.0, 0.0, 0.0]]), noise(1, 1, 3, 4, 4) - 0.5
    raw = replace(PLAIN, step_norm="raw", step_size=1.0)
    red = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).view(3, 1, 1)
    close(last_input(network, views, raw), views[0, 0] + red / 16)
    positive = (views[0, 0, 0] > 0).double()
    close(last_input(network, views, replace(raw, score="relu_gap")), views[0, 0] + red * positive / 16)


def _two_steps(views: Tensor, penalty: float, reduction: str) -> Tensor:
    """Difference that the second step makes, over the positions, in units of xi / (h w)."""
    settings = replace(
        PLAIN,
        step_norm="raw",
        step_size=0.01,
        penalty=penalty,
        penalty_reduction=reduction,  # type: ignore[arg-type]
    )
    inputs = climb(Pixels([[1.0, 0.0, 0.0]]), views, torch.tensor([0]), settings, 2, "all").inputs
    assert inputs is not None
    positions = views.shape[-1] * views.shape[-2]
    return (inputs[2] - inputs[1])[0, 0] * positions / 0.01


@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_mean_penalty_says_the_same_at_every_resolution(tiles: int) -> None:
    """lambda = 1: raising a masked position costs exactly what it earns; lambda = 3: three times as much."""
    base = noise(1, 1, 3, 4, 4)
    views = base.tile(1, 1, 1, tiles, tiles)
    masked = base[0, 0, 0] / base[0, 0, 0].max() > 0.5
    assert 0 < masked.sum() < 16
    for penalty in (0.0, 1.0, 3.0):
        expected = (1 - penalty * masked.double()).tile(tiles, tiles)
        close(_two_steps(views, penalty, "mean"), expected, atol=1e-8)
        close(_two_steps(views, penalty, "sum"), (1 - penalty * expected.numel() * masked.double().tile(tiles, tiles)))


def test_first_step_feels_no_penalty() -> None:
    views = noise(1, 1, 3, 4, 4)
    network = Pixels([[1.0, 0.5, 0.0]])
    assert torch.equal(last_input(network, views, PLAIN), last_input(network, views, replace(PLAIN, penalty=9.0)))


def test_mask_threshold_decides_which_positions_are_held() -> None:
    views = noise(1, 1, 3, 4, 4)
    normalised = views[0, 0, 0] / views[0, 0, 0].max()
    for threshold in (0.0, 0.3, 0.8, 1.0):
        settings = replace(PLAIN, step_norm="raw", step_size=1e-3, penalty=1.0, mask_threshold=threshold)
        inputs = climb(Pixels([[1.0, 0, 0]]), views, torch.tensor([0]), settings, 2, "all").inputs
        assert inputs is not None
        moved = (inputs[2] - inputs[1])[0, 0] > 1e-9
        assert torch.equal(moved, ~(normalised > threshold))


def test_grad_cam_normaliser_weighs_flips_by_their_positive_positions() -> None:
    network = Pixels([[1.0, 2.0, -1.0]])  # K+ = 2
    views = noise(1, 2, 3, 4, 4) - 0.3
    maps = network.respond(views[0]).class_map(torch.tensor([0, 0]))
    counts = (maps > 0).sum(dim=(1, 2)).double()
    factors = counts / (2 * counts.sum())
    expected = factors[0] * maps[0].relu() + factors[1] * maps[1].flip(-1).relu()
    total = climb(network, views, torch.tensor([0]), replace(PLAIN, normaliser="grad_cam"), 0).total
    close(total[0], expected)
    assert counts[0] != counts[1]


# Other classes

WEIGHTS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.3, 1.0], [0.2, 0.0, 0.5]]


def _gradient(rule: object, label: int = 0, competing: list[bool] | None = None) -> Tensor:
    """Gradient of the objective with respect to each colour, times the number of positions."""
    views = torch.tensor([0.1, 0.7, 0.4], dtype=torch.float64).view(1, 1, 3, 1, 1).expand(1, 1, 3, 4, 4)
    settings = replace(PLAIN, other_classes=rule, step_norm="raw", step_size=1.0)  # type: ignore[arg-type]
    moved = last_input(Pixels(WEIGHTS, competing), views, settings, label=label) - views[0, 0]
    return moved.mean(dim=(1, 2)) * 16


def test_other_class_rules() -> None:
    w = torch.tensor(WEIGHTS, dtype=torch.float64)
    scores = w @ torch.tensor([0.1, 0.7, 0.4], dtype=torch.float64)  # 0.1, 0.7, 0.61, 0.22
    close(_gradient("none"), w[0])
    close(_gradient("all"), w[0] - w[1:].sum(dim=0))
    close(_gradient("logsumexp"), w[0] - scores[1:].softmax(dim=0) @ w[1:])
    close(_gradient(1), w[0] - w[1])
    close(_gradient(2), w[0] - w[1] - w[2])
    close(_gradient(1, label=1), w[1] - w[2])
    close(_gradient(50), _gradient("all"))


def test_background_does_not_compete() -> None:
    w = torch.tensor(WEIGHTS, dtype=torch.float64)
    competing = [True, False, True, True]
    close(_gradient("all", competing=competing), w[0] - w[2] - w[3])
    close(_gradient(1, competing=competing), w[0] - w[2])
    close(_gradient(3, competing=competing), w[0] - w[2] - w[3])
    scores = w @ torch.tensor([0.1, 0.7, 0.4], dtype=torch.float64)
    close(_gradient("logsumexp", competing=competing), w[0] - scores[2:].softmax(dim=0) @ w[2:])


@pytest.mark.parametrize("rule", ["all", "logsumexp", 1, 3])
def test_a_class_without_rivals_climbs_its_own_score(rule: object) -> None:
    w = torch.tensor(WEIGHTS, dtype=torch.float64)
    close(_gradient(rule, label=0, competing=[True, False, False, False]), w[0])
    close(_gradient(rule, label=1, competing=[True, False, False, False]), w[1] - w[0])
    close(_gradient(rule, label=0, competing=[False] * 4), w[0])


def test_rows_with_and_without_rivals_in_one_batch() -> None:
    views = noise(2, 1, 3, 4, 4)
    network = Pixels(WEIGHTS, [True, False, False, False])
    for rule in ("all", "logsumexp", 2):
        settings = replace(PLAIN, other_classes=rule, step_norm="raw", step_size=1.0)  # type: ignore[arg-type]
        inputs = climb(network, views, torch.tensor([0, 1]), settings, 1, "all").inputs
        assert inputs is not None
        w = torch.tensor(WEIGHTS, dtype=torch.float64)
        close((inputs[1] - inputs[0]).mean(dim=(2, 3)) * 16, torch.stack([w[0], w[1] - w[0]]))


# Degenerate cases


@pytest.mark.parametrize("settings", [ClimbSettings.paper(), ClimbSettings.published()])
def test_empty_maps_are_zero_and_never_nan(settings: ClimbSettings) -> None:
    views = torch.stack([-noise(2, 3, 4, 4) - 1, noise(2, 3, 4, 4)])
    network = Pixels([[1.0, 1.0, 1.0], [0.5, 0.0, 0.0]])
    result = climb(network, views, torch.tensor([0, 0]), replace(settings, step_size=1e-4), 5, "all")
    assert torch.isfinite(result.total).all()
    assert torch.equal(result.total[0], torch.zeros(4, 4, dtype=torch.float64))
    assert result.total[1].min() > 0


def test_a_flat_score_makes_no_step() -> None:
    views = noise(1, 1, 3, 4, 4)
    for norm in ("max", "rms", "raw"):
        settings = replace(PLAIN, step_norm=norm)  # type: ignore[arg-type]
        assert torch.equal(last_input(Pixels([[0.0, 0.0, 0.0]]), views, settings), views[0, 0])


@pytest.mark.parametrize("variant", ["paper", "published"])
def test_a_class_that_nothing_speaks_for_gives_an_all_zero_map(variant: str) -> None:
    network = ToyNetwork(0)
    network.head.weight.data[1] = -network.head.weight.data[1].abs()
    (result,) = AdvCAM(classifier(network), variant=variant, iterations=3)([picture()], [[1, 0]])  # type: ignore[arg-type]
    assert np.array_equal(result.maps[0], np.zeros_like(result.maps[0]))
    assert result.maps[1].max() > 0.99


# Cost, gradients, callers


def test_one_forward_and_one_backward_pass_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    backward, calls = torch.autograd.grad, []

    def counted(*args: object, **options: object) -> object:
        calls.append(args)
        return backward(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.autograd, "grad", counted)
    network = ToyNetwork()
    adapted = classifier(network)
    forward: list[object] = []
    network.register_forward_hook(lambda *_: forward.append(None))
    calls.clear()
    for settings in (replace(PAPER, iterations=5), replace(ClimbSettings.published(), iterations=6)):
        forward.clear()
        calls.clear()
        climb(
            adapted, literal.pair_of(picture(), 1.0)[None], torch.tensor([0]), settings, settings.steps_at(1.0), "none"
        )
        assert (len(forward), len(calls)) == (6, 5)


def test_a_class_map_is_computed_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network without a linear head pays one more backward pass, to its features, and not two."""
    adapted = classifier(MultilayerHead())
    backward, calls = torch.autograd.grad, []

    def counted(*args: object, **options: object) -> object:
        calls.append(args)
        return backward(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.autograd, "grad", counted)
    climb(adapted, noise(1, 1, 3, 40, 40), torch.tensor([0]), PAPER, 3)
    assert len(calls) == 3 + 4


def test_parameters_get_no_gradient_and_keep_their_state() -> None:
    network = ToyNetwork()
    network.train()
    network.features[0].requires_grad_(False)
    AdvCAM(classifier(network), iterations=2)([picture()], [[0]])
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training
    assert [p.requires_grad for p in network.parameters()] == [False, False, True, True, True]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_callers_without_gradients(mode: Callable[[], torch.no_grad]) -> None:
    method = AdvCAM(classifier(ToyNetwork()), iterations=3)
    (expected,) = method([picture()], [[0, 1]])
    with mode():
        (result,) = method([picture()], [[0, 1]])
    np.testing.assert_array_equal(result.maps, expected.maps)
    plain = CAM(method.classifier)([picture()], [[0, 1]])[0].maps
    assert not np.allclose(result.maps, plain, atol=1e-3)


def test_float32_and_float64_agree_on_the_first_steps() -> None:
    views = literal.pair_of(picture(), 1.0)[None]
    double = climb(classifier(ToyNetwork(5)), views, torch.tensor([1]), PAPER, 3).total
    single = climb(classifier(ToyNetwork(5).float()), views.float(), torch.tensor([1]), PAPER, 3).total
    close(single.double(), double, atol=1e-3 * double.max().item())


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "iterations (T) is at least 1; for no climb use CAM; got 0"),
        (
            {"step_size": -0.1},
            "step_size (xi) is positive and finite; a negative one would be an attack; got -0.1",
        ),
        ({"step_size": math.nan}, "step_size (xi) is positive and finite; a negative one would be an attack; got nan"),
        ({"step_size": math.inf}, "step_size (xi) is positive and finite; a negative one would be an attack; got inf"),
        ({"penalty": -1.0}, "penalty (lambda) is finite and not negative; got -1.0"),
        ({"penalty": math.nan}, "penalty (lambda) is finite and not negative; got nan"),
        ({"mask_threshold": 1.5}, "mask_threshold (tau) lies in [0, 1]; got 1.5"),
        ({"mask_threshold": math.nan}, "mask_threshold (tau) lies in [0, 1]; got nan"),
        ({"step_norm": "sign"}, "step_norm is one of max, rms, raw; got 'sign'"),
        (
            {"other_classes": "some"},
            "other_classes is one of all, none, logsumexp or a number of classes; got 'some'",
        ),
        ({"other_classes": 0}, 'other_classes as a number is at least 1 (or "none"); got 0'),
        ({"variant": "cvpr"}, 'variant is "paper" or "published"; got \'cvpr\''),
        ({"scales": (0.0, 1.0)}, "scales are one or more numbers above 0 and at most 8; got [0.0, 1.0]"),
        ({"scales": (math.nan,)}, "scales are one or more numbers above 0 and at most 8; got [nan]"),
    ],
)
def test_impossible_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        AdvCAM(classifier(ToyNetwork()), **settings)  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"penalty_reduction": "max"}, "penalty_reduction is one of mean, sum; got 'max'"),
        ({"score": "softmax"}, "score is one of logit, relu_gap; got 'softmax'"),
        ({"normaliser": "max"}, "normaliser is one of none, grad_cam; got 'max'"),
        ({"clamp": "valid"}, "clamp is one of none, running; got 'valid'"),
    ],
)
def test_unknown_words(settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        ClimbSettings(**settings)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_arguments_override_settings_and_nothing_else() -> None:
    base = ClimbSettings.published()
    method = AdvCAM(classifier(ToyNetwork()), settings=base, iterations=3, penalty=0.0, step_norm="rms")
    assert method.settings == replace(base, iterations=3, penalty=0.0, step_norm="rms")


def test_published_needs_linear_maps() -> None:
    class Unweighted(Pixels):
        def respond(self, inputs: Tensor) -> Response:
            return DenseResponse(super().respond(inputs).score_maps())

    with pytest.raises(SettingError) as caught:
        climb(Unweighted(WEIGHTS), noise(1, 1, 3, 4, 4), torch.tensor([0]), ClimbSettings.published(), 1)
    assert str(caught.value) == (
        'normaliser="grad_cam" (variant="published") needs a linear class map with known weights; this network has '
        'none: use variant="paper"'
    )


def test_rectified_score_needs_maps_whose_mean_is_the_score() -> None:
    adapted = classifier(MultilayerHead())
    with pytest.raises(ModelError) as caught:
        climb(adapted, noise(1, 1, 3, 40, 40), torch.tensor([0]), replace(PLAIN, score="relu_gap"), 1)
    assert str(caught.value) == (
        'score="relu_gap" (variant="published") needs a map for each class whose mean is the score, which only '
        'global average pooling + linear heads have; use score="logit"'
    )
