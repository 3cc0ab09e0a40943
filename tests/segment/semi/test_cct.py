import copy
from collections.abc import Callable, Iterator
from math import exp

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from advcam.segment.network import SegmentationNetwork
from advcam.segment.objective import ObjectiveSettings, channels_last
from advcam.segment.semi import cct, perturbations
from advcam.segment.semi.cct import PERTURBATIONS, CCTObjective, CCTSettings, consistency, ramp
from advcam.training.augment import Normalisation
from advcam.types import IGNORE

CLASSES, SIDE = 3, 16
NONE = dict.fromkeys(PERTURBATIONS, 0)
#: What is drawn does not matter with these.
CERTAIN = NONE | {
    "cutout": 1,
    "cutout_share": 1.0,
    "context_masking": 2,
    "object_masking": 1,
    "feature_drop": 1,
    "drop_range": (0.7, 0.7),
    "upscale": 2,
}
ONE_OF_EACH = dict.fromkeys(PERTURBATIONS, 1) | {"upscale": 2}


class Toy(SegmentationNetwork):
    """Features at stride 4, scores of each place by itself at stride 2."""

    def __init__(self) -> None:
        encoder = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Tanh(), nn.Conv2d(8, 8, 3, 2, 1), nn.Tanh())
        super().__init__(encoder, CLASSES, Normalisation((0.5,) * 3, (0.5,) * 3), (8, 8))
        self.fine, self.coarse = nn.Conv2d(8, CLASSES, 1), nn.Conv2d(8, CLASSES, 1)

    def encode(self, inputs: Tensor) -> list[Tensor]:
        fine = self.encoder[:2](inputs)
        return [fine, self.encoder[2:](fine)]

    def decode(self, features: list[Tensor]) -> Tensor:
        fine, coarse = self.fine(features[0]), self.coarse(features[1])
        return fine + nn.functional.interpolate(coarse, size=fine.shape[-2:], mode="nearest")

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self.fine.named_parameters()
        yield from self.coarse.named_parameters()


def objective(seed: int = 0, share: float = 1.0, **semi: object) -> CCTObjective:
    torch.manual_seed(seed)
    network = Toy()
    for head in (network.fine, network.coarse):
        head.weight.data *= 5
    made = CCTObjective(network, ObjectiveSettings(), CCTSettings.model_validate(semi)).train()
    made.share = share
    return made


def batch(count: int = 2, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(2, count, 3, SIDE, SIDE, generator=generator)
    masks = torch.randint(0, CLASSES + 1, (2, count, SIDE, SIDE), generator=generator)
    masks[masks == CLASSES] = IGNORE
    inside = torch.ones(count, SIDE, SIDE, dtype=torch.bool)
    inside[0, :, 12:] = False
    masks[1][~inside] = IGNORE
    return {
        "pictures": pictures[0],
        "masks": masks[0],
        "weights": torch.ones(count),
        "weak_pictures": pictures[1],
        "weak_masks": masks[1],
        "inside": inside,
    }


def gradients(made: CCTObjective, examples: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    made.zero_grad()
    made(examples).backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in made.named_parameters()}


def test_published_numbers_of_decoders_and_weights() -> None:
    settings = CCTSettings()
    assert settings.counts == {
        "vat": 2,
        "dropout": 6,
        "cutout": 6,
        "context_masking": 2,
        "object_masking": 2,
        "feature_drop": 6,
        "feature_noise": 6,
    }
    assert len(objective().decoders) == 30
    assert (settings.unsupervised_weight, settings.weak_weight, settings.ramp_up) == (30, 0.4, 0.1)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (NONE, "CCT needs at least one auxiliary decoder; give one of the seven kinds a number"),
        ({"drop_range": (0.9, 0.6)}, "drop_range is a lower and a higher share, 0 to 1; got 0.9 and 0.6"),
        ({"upscale": 3}, "Input should be 1, 2, 4, 8, 16 or 32"),
        ({"abce": True}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        CCTSettings.model_validate(wrong)


def test_ramp_rises_as_published() -> None:
    assert ramp(0.0, 0.1) == exp(-5)
    assert ramp(0.05, 0.1) == pytest.approx(exp(-5 / 4))
    assert [ramp(share, 0.1) for share in (0.1, 0.5, 1.0)] == [1, 1, 1]
    assert ramp(0.0, 0.0) == 1


def test_consistency_is_the_literal_one() -> None:
    torch.manual_seed(0)
    logits, answers = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.rand(2, 3, 4, 5, dtype=torch.float64)
    inside = torch.rand(2, 4, 5) > 0.3
    pictures = []
    for n in range(2):
        errors = []
        for y, x in inside[n].nonzero().tolist():
            powers = [np.exp(float(value)) for value in logits[n, :, y, x]]
            errors += [(powers[c] / sum(powers) - float(answers[n, c, y, x])) ** 2 for c in range(3)]
        pictures.append(sum(errors) / len(errors))
    assert float(consistency(logits, answers, inside)) == pytest.approx(np.mean(pictures), rel=1e-12)
    whole = torch.nn.functional.mse_loss(logits.softmax(dim=1), answers)
    torch.testing.assert_close(consistency(logits, answers, torch.ones_like(inside)), whole)
    assert consistency(logits, answers, torch.zeros_like(inside)) == 0


@torch.no_grad()
def literal_loss(made: CCTObjective, examples: dict[str, Tensor], weight: float) -> float:
    """The loss of the weak pictures with `CERTAIN` perturbations, picture by picture, in float64."""
    made = copy.deepcopy(made).double()
    total = 0.0
    for n in range(len(examples["weak_pictures"])):
        features = made.network.encode(examples["weak_pictures"][n : n + 1].double())
        z = features[-1][0]  # (8, 4, 4); answers are compared at 8 x 8, pictures are 16 x 16
        main = made.network.decode(features)[0].softmax(dim=0)
        inside, masks = (examples[name][n, 1::2, 1::2] for name in ("inside", "weak_masks"))
        seen = (main.argmax(dim=0) > 0) & inside
        assert seen.any()
        context = z * seen[1::2, 1::2]
        boxes = perturbations.object_boxes(seen[None]) * 8
        cut = z.clone()
        for _, left, top, right, bottom in boxes.round().int().tolist():
            for y in range(4):
                for x in range(4):
                    if left <= 2 * x + 1 < right and top <= 2 * y + 1 < bottom:
                        cut[:, y, x] = 0
        activity = z.abs().sum(dim=0)
        dropped = z * (activity < 0.7 * activity.max())
        kinds = [cut, context, context, z - context, dropped]
        for perturbed, decoder in zip(kinds, made.decoders, strict=True):
            answer = decoder(perturbed[None])[0].softmax(dim=0)
            errors = [float((answer - main)[:, y, x].square().mean()) for y, x in inside.nonzero().tolist()]
            known = (masks != IGNORE).nonzero().tolist()
            losses = [-float(answer[masks[y, x], y, x].log()) for y, x in known]
            total += weight * (30 * np.mean(errors) + 0.4 * np.mean(losses)) / len(kinds)
    return total / len(examples["weak_pictures"])


@pytest.mark.parametrize("share", [0.0, 0.05, 1.0])
def test_loss_is_the_literal_one(share: float) -> None:
    made, examples = objective(share=share, **CERTAIN), batch(3)
    supervised = float(super(CCTObjective, made).forward(examples).detach())
    weak = literal_loss(made, examples, exp(-5 * max(0, 1 - share / 0.1) ** 2))
    assert float(made(examples).detach()) == pytest.approx(supervised + weak, rel=1e-5)


#: What each kind does to features, told the decoder, the pixels inside, and the foreground.
DOES: dict[str, Callable[[Tensor, nn.Module, Tensor, Tensor], Tensor]] = {
    "vat": lambda z, decoder, inside, _: perturbations.virtual_adversarial(z, decoder, inside, 2.0),
    "dropout": lambda z, *_: perturbations.dropout(z, 0.5),
    "cutout": lambda z, _decoder, _inside, seen: perturbations.guided_cutout(z, perturbations.object_boxes(seen), 0.4),
    "context_masking": lambda z, _decoder, _inside, seen: perturbations.mask_context(z, seen),
    "object_masking": lambda z, _decoder, _inside, seen: perturbations.mask_objects(z, seen),
    "feature_drop": lambda z, *_: perturbations.feature_drop(z, 0.6, 0.9),
    "feature_noise": lambda z, *_: perturbations.feature_noise(z, 0.3),
}


@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_each_kind_does_what_its_name_says_as_published(kind: str) -> None:
    made, examples = objective(**NONE | {kind: 1, "weak_weight": 0.0, "upscale": 2}), batch()
    torch.manual_seed(5)
    loss = made(examples)
    # What is random is drawn in the order of memory.
    features = made.network.encode(channels_last(examples["weak_pictures"]))
    answers, inside = made.network.decode(features).softmax(dim=1), examples["inside"][:, ::2, ::2]
    seen, (decoder,) = inside & (answers.argmax(dim=1) > 0), made.decoders
    torch.manual_seed(5)
    logits = decoder(DOES[kind](features[-1], decoder, inside, seen))
    supervised = super(CCTObjective, made).forward(examples)
    torch.testing.assert_close(loss, supervised + 30 * consistency(logits, answers, inside))
    assert not torch.allclose(loss, supervised + 30 * consistency(decoder(features[-1]), answers, inside))


def test_loss_does_not_depend_on_how_a_batch_is_cut() -> None:
    made, examples = objective(**CERTAIN), batch(4)
    parts = [made({name: value[part] for name, value in examples.items()}) for part in (slice(1), slice(1, 4))]
    torch.testing.assert_close(made(examples), (parts[0] + 3 * parts[1]) / 4)


def test_gradients_go_where_they_are_published_to_go() -> None:
    made, examples = objective(**ONE_OF_EACH), batch()
    examples["masks"][:] = IGNORE  # nothing supervised
    for name, gradient in gradients(made, examples).items():
        main = name.startswith(("network.fine", "network.coarse"))
        assert gradient.any() != main, name


def test_pictures_without_truth_change_only_their_own_terms() -> None:
    made, examples = objective(**ONE_OF_EACH), batch()
    examples["inside"][:], examples["weak_masks"][:] = False, IGNORE
    torch.testing.assert_close(made(examples), super(CCTObjective, made).forward(examples))
    assert not any(gradient.any() for name, gradient in gradients(made, examples).items() if "decoders" in name)


def test_padded_pixels_do_not_count() -> None:
    """A main decoder that sees objects all over the padding changes neither targets nor the boxes of objects."""
    made, examples = objective(**CERTAIN), batch()
    before = made(examples)
    decode = made.network.decode

    def other(features: list[Tensor]) -> Tensor:
        logits = decode(features).clone()
        if not torch.is_grad_enabled():
            logits[0, 1, :, 6:] = 1e3
        return logits

    made.network.decode = other
    torch.testing.assert_close(made(examples), before)


def test_computing_again_in_the_backward_pass_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made, examples = objective(**ONE_OF_EACH), batch()
    found = gradients(made, examples)

    def at_once(function: Callable[..., Tensor], *arguments: object, **_: object) -> Tensor:
        return function(*arguments)

    monkeypatch.setattr(cct, "checkpoint", at_once)
    for name, gradient in gradients(made, examples).items():
        torch.testing.assert_close(found[name], gradient)


def test_all_background_is_no_accident() -> None:
    made, examples = objective(**ONE_OF_EACH), batch()
    made.network.fine.bias.data[0] = 1e3
    found = gradients(made, examples)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert found["network.encoder.0.weight"].any()


def test_randomness_is_that_of_the_global_generator() -> None:
    made, examples = objective(**ONE_OF_EACH), batch()
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(float(made(examples).detach()))
    assert losses[0] == losses[1] != losses[2]


def test_decoders_are_beside_the_network() -> None:
    made = objective(**ONE_OF_EACH)
    auxiliary = {id(parameter) for parameter in made.auxiliary_parameters()}
    assert not auxiliary & {id(parameter) for parameter in made.network.parameters()}
    assert auxiliary | {id(p) for p in made.network.parameters()} == {id(p) for p in made.parameters()}
    assert set(made.network.state_dict()) == set(Toy().state_dict())
    first, second = (decoder.layers[0].weight for decoder in made.decoders[:2])
    assert not torch.equal(first, second)


def test_bfloat16_is_near() -> None:
    made, examples = objective(**CERTAIN), batch()
    expected = made(examples)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(made(examples), expected, rtol=0.05, atol=0)


def coloured(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy pictures of a background and two rectangles, one of each class, that are told by their colour."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, SIDE, SIDE), dtype=np.int64)
    for mask in masks:
        for number in (1, 2):
            top, left = random.integers(0, 8, 2)
            mask[top : top + 8, left : left + 6] = number
    colours = np.array([[-1, -1, 0], [1, -1, 0], [-1, 1, 0]])
    pictures = colours[masks].transpose(0, 3, 1, 2) + 0.5 * random.standard_normal((count, 3, SIDE, SIDE))
    return torch.from_numpy(pictures).float(), torch.from_numpy(masks)


def trained(made: CCTObjective, examples: dict[str, Tensor], loss_of: Callable[[dict[str, Tensor]], Tensor]) -> float:
    """Trains; how many pixels of other pictures are right."""
    optimizer = torch.optim.Adam(made.parameters(), 0.01)
    for step in range(80):
        made.share = step / 80
        optimizer.zero_grad()
        loss_of(examples).backward()
        optimizer.step()
    pictures, masks = coloured(32, seed=2)
    with torch.no_grad():
        logits = nn.functional.interpolate(made.network(pictures), size=(SIDE, SIDE), mode="bilinear")
    return float((logits.argmax(dim=1) == masks).float().mean())


def test_it_learns_from_pictures_without_masks() -> None:
    (pictures, masks), (weak, truth) = coloured(2, seed=0), coloured(10, seed=1)
    examples = {
        "pictures": pictures,
        "masks": masks,
        "weights": torch.ones(2),
        "weak_pictures": weak,
        "weak_masks": torch.full_like(truth, IGNORE),
        "inside": torch.ones_like(truth, dtype=torch.bool),
    }
    alone, made = objective(**ONE_OF_EACH), objective(**ONE_OF_EACH)
    supervised = trained(alone, examples, super(CCTObjective, alone).forward)
    assert trained(made, examples, made) > max(supervised + 0.01, 0.85)

    def disagreement() -> float:
        with torch.no_grad():
            return float(made(examples) - super(CCTObjective, made).forward(examples))

    learnt = disagreement()
    made.decoders = objective(seed=1, **ONE_OF_EACH).decoders
    assert learnt < 0.5 * disagreement()
