import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from advcam.errors import SettingError
from advcam.segment.network import SegmentationNetwork
from advcam.segment.objective import ObjectiveSettings
from advcam.segment.semi.unimatch import (
    UniMatchObjective,
    UniMatchSettings,
    consistency,
    cutmix,
    pseudo_labels,
)
from advcam.training.augment import Normalisation

PICTURES = ("pictures", "weak_pictures", "strong_pictures_1", "strong_pictures_2")
CLASSES, SIDE = 4, 10


class Toy(SegmentationNetwork):
    """Two stages of stride 2, and scores from both."""

    def __init__(self, channels: tuple[int, int] = (5, 6)) -> None:
        encoder = nn.ModuleList([nn.Conv2d(3, channels[0], 3, 2, 1), nn.Conv2d(channels[0], channels[1], 3, 2, 1)])
        super().__init__(encoder, CLASSES, Normalisation((0.5,) * 3, (0.5,) * 3), channels)
        self.heads = nn.ModuleList([nn.Conv2d(count, CLASSES, 1) for count in channels])

    def encode(self, inputs: Tensor) -> list[Tensor]:
        fine = self.encoder[0](inputs).tanh()
        return [fine, self.encoder[1](fine).tanh()]

    def decode(self, features: list[Tensor]) -> Tensor:
        fine, coarse = (head(f) for head, f in zip(self.heads, features, strict=True))
        return fine + nn.functional.interpolate(coarse, size=fine.shape[-2:], mode="nearest")

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.heads.named_parameters()


def toy(seed: int = 0) -> Toy:
    """A toy that is sure of some pixels."""
    torch.manual_seed(seed)
    network = Toy()
    for head in network.heads:
        head.weight.data *= 8
    return network


def objective(network: SegmentationNetwork, **semi: object) -> UniMatchObjective:
    return UniMatchObjective(network, ObjectiveSettings(), UniMatchSettings(**semi)).train()


def pairs(count: int, seed: int = 0, boxes: bool = True) -> dict[str, Tensor]:
    """A batch of noise."""
    random = np.random.default_rng(seed)
    masks = random.integers(0, CLASSES, (2, count, SIDE, SIDE))
    masks[random.random(masks.shape) < 0.3] = 255
    labels = random.random((count, CLASSES)) < 0.5
    labels[:, :2] = True
    flags = random.random((3, count, SIDE, SIDE)) < [[[[0.7]]], [[[0.4]]], [[[0.4]]]]
    arrays = {name: random.normal(size=(count, 3, SIDE, SIDE)).astype(np.float32) for name in PICTURES}
    arrays |= {"masks": masks[0], "weak_masks": masks[1], "labels": labels, "inside": flags[0]}
    arrays |= {"cutmix_1": flags[1] & boxes, "cutmix_2": flags[2] & boxes}
    arrays |= {"weights": random.random(count).astype(np.float32)}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def literal_enlarged(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bilinear, corners not aligned, pixel by pixel; (C, h, w) to (C, SIDE, SIDE)."""
    made = np.zeros((len(logits), SIDE, SIDE))
    places = [max((pixel + 0.5) * logits.shape[1] / SIDE - 0.5, 0) for pixel in range(SIDE)]
    last = logits.shape[1] - 1
    for y, v in enumerate(places):
        for x, u in enumerate(places):
            for row, of_row in ((int(v), 1 - v % 1), (min(int(v) + 1, last), v % 1)):
                for column, of_column in ((int(u), 1 - u % 1), (min(int(u) + 1, last), u % 1)):
                    made[:, y, x] += of_row * of_column * logits[:, row, column]
    return made


def literal_probabilities(network: Toy, picture: Tensor, keep: list[Tensor] | None = None) -> NDArray[np.float64]:
    """(C, SIDE, SIDE) of one picture, its features times `keep`."""
    features = network.encode(picture[None].double())
    if keep is not None:
        features = [f * k.double() for f, k in zip(features, keep, strict=True)]
    powers = np.exp(literal_enlarged(network.decode(features)[0].detach().numpy()))
    return powers / powers.sum(axis=0)


def literal_loss(network: Toy, batch: dict[str, Tensor], semi: UniMatchSettings, keep: list[Tensor]) -> float:
    """The equation, one picture and one pixel after the other."""
    network = copy.deepcopy(network).double()
    count = len(batch["pictures"])
    target = np.full((count, SIDE, SIDE), -1)
    weak = [literal_probabilities(network, picture) for picture in batch["weak_pictures"]]
    pixels = [(y, x) for y in range(SIDE) for x in range(SIDE)]
    for n in range(count):
        allowed = [c for c in range(CLASSES) if batch["labels"][n, c] or not semi.image_labels]
        for y, x in pixels:
            best = max(allowed, key=lambda c: weak[n][c, y, x])
            if weak[n][best, y, x] / sum(weak[n][c, y, x] for c in allowed) >= semi.confidence:
                target[n, y, x] = best
    total = 0.0
    for n in range(count):
        true = literal_probabilities(network, batch["pictures"][n])
        total += float(batch["weights"][n]) * literal_cross_entropy(true, batch["masks"][n])
        total += semi.weak_weight * literal_cross_entropy(weak[n], batch["weak_masks"][n])
        dropped = literal_probabilities(network, batch["weak_pictures"][n], [k[n : n + 1] for k in keep])
        inside = [(y, x) for y, x in pixels if batch["inside"][n, y, x]]
        losses = [-np.log(dropped[target[n, y, x], y, x]) for y, x in inside if target[n, y, x] >= 0]
        total += semi.perturbed_weight * sum(losses) / len(inside)
        for view in ("1", "2"):
            mixed, strong = batch[f"strong_pictures_{view}"][n].clone(), batch[f"strong_pictures_{view}"]
            source = {(y, x): n - 1 if batch[f"cutmix_{view}"][n, y, x] else n for y, x in pixels}
            for (y, x), m in source.items():
                mixed[:, y, x] = strong[m][:, y, x]
            probabilities = literal_probabilities(network, mixed)
            inside = [(y, x) for (y, x), m in source.items() if batch["inside"][m, y, x]]
            known = [(target[source[y, x], y, x], y, x) for y, x in inside if target[source[y, x], y, x] >= 0]
            total += semi.strong_weight * sum(-np.log(probabilities[where]) for where in known) / len(inside)
    return total / 2 / count


def literal_cross_entropy(probabilities: NDArray[np.float64], mask: Tensor) -> float:
    known = [(int(mask[y, x]), y, x) for y in range(SIDE) for x in range(SIDE) if mask[y, x] != 255]
    return float(np.mean([-np.log(probabilities[where]) for where in known]))


@pytest.mark.parametrize(
    "semi",
    [
        {},
        {"confidence": 0.8},
        {"confidence": 0.8, "image_labels": False, "weak_weight": 0.0},
        {"confidence": 0.7, "strong_weight": 0.7, "perturbed_weight": 0.2, "dropout": 0.3, "weak_weight": 1.3},
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_the_loss_is_that_of_the_equation(semi: dict[str, object], count: int) -> None:
    network, batch, chosen = toy(), pairs(count), UniMatchSettings(**semi)
    torch.manual_seed(7)
    loss = objective(network, **semi)(batch)
    torch.manual_seed(7)
    keep = [nn.functional.dropout2d(torch.ones(count, c, 1, 1), chosen.dropout) for c in network.feature_channels]
    assert float(loss.detach()) == pytest.approx(literal_loss(network, batch, chosen, keep), abs=1e-6, rel=1e-6)
    labels = batch["labels"] | (not chosen.image_labels)
    targets = pseudo_labels(network(batch["weak_pictures"]), labels, batch["inside"], chosen.confidence)
    assert 0 < (targets < 255).sum() < batch["inside"].sum(), "some pixels are confident, some are not"


def test_the_published_constants() -> None:
    published = {"confidence": 0.95, "strong_weight": 0.25, "perturbed_weight": 0.5, "dropout": 0.5}
    assert UniMatchSettings().model_dump(exclude={"image_labels", "weak_weight"}) == published


def test_a_batch_may_be_cut_where_nothing_is_mixed() -> None:
    """The mean over its pictures, however many pixels of each are inside or known."""
    batch, whole = pairs(3, boxes=False), objective(toy(), confidence=0.5, dropout=0.0)
    each = [whole({name: tensor[n : n + 1] for name, tensor in batch.items()}) for n in range(3)]
    assert torch.allclose(whole(batch), torch.stack(each).mean(), atol=1e-6)


def test_what_is_mixed_decides() -> None:
    mixed, plain, learner = pairs(3), pairs(3, boxes=False), objective(toy(), confidence=0.5, dropout=0.0)
    assert abs(learner(mixed) - learner(plain)) > 1e-3
    one = {name: tensor[:1] for name, tensor in mixed.items()}
    alone = {name: tensor[:1] for name, tensor in plain.items()}
    assert torch.equal(learner(one), learner(alone)), "a batch of one has no partner"


def test_no_gradient_flows_through_the_targets() -> None:
    batch = pairs(2)
    for name in PICTURES:
        batch[name].requires_grad_()
    objective(toy(), confidence=0.5, weak_weight=0.0, perturbed_weight=0.0)(batch).backward()
    assert batch["weak_pictures"].grad.abs().sum() == 0
    assert all(batch[name].grad.abs().sum() > 0 for name in PICTURES if name != "weak_pictures")


@pytest.mark.parametrize("weight", ["weak_weight", "perturbed_weight"])
def test_the_weak_view_learns_from_its_mask_and_when_perturbed(weight: str) -> None:
    batch = pairs(2)
    batch["weak_pictures"].requires_grad_()
    none = {"weak_weight": 0.0, "perturbed_weight": 0.0, "strong_weight": 0.0}
    objective(toy(), confidence=0.5, **none | {weight: 1.0})(batch).backward()
    assert batch["weak_pictures"].grad.abs().sum() > 0


def test_dropout_is_of_training_alone_and_takes_whole_channels() -> None:
    batch, learner = pairs(2), objective(toy(), confidence=0.5)
    assert not torch.equal(learner(batch), learner(batch))
    learner.eval()
    assert torch.equal(learner(batch), learner(batch))
    seen: list[list[Tensor]] = []
    decode = learner.network.decode
    learner.network.decode = lambda features: (seen.append(features), decode(features))[1]
    learner.train()(batch)
    for features in seen[0]:
        clean, dropped = features[2:4], features[8:]
        gone = (dropped == 0).all(dim=(2, 3))
        assert gone.any()
        assert not gone.all()
        assert torch.equal(dropped, torch.where(gone[:, :, None, None], 0, 2 * clean))


def test_a_pseudo_label_is_a_class_of_the_picture() -> None:
    """The absent class 2 is the most probable one; the best that is allowed takes its place, and its probability."""
    logits = torch.tensor([0.0, 1.0, 9.0, -1.0]).log_softmax(0).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    inside = torch.ones(1, 2, 2, dtype=torch.bool)
    free, restricted = torch.tensor([[True] * 4]), torch.tensor([[True, True, False, False]])
    assert pseudo_labels(logits, free, inside, 0.95).tolist() == [[[2, 2], [2, 2]]]
    probability = float(torch.tensor(1.0).sigmoid())
    assert pseudo_labels(logits, restricted, inside, probability - 1e-4).tolist() == [[[1, 1], [1, 1]]]
    assert pseudo_labels(logits, restricted, inside, probability + 1e-4).tolist() == [[[255, 255], [255, 255]]]
    alone = torch.tensor([[True, False, False, False]])
    assert pseudo_labels(logits, alone, inside, 1.0).tolist() == [[[0, 0], [0, 0]]], "nothing else is possible"
    inside[0, 0, 1] = False
    assert pseudo_labels(logits, alone, inside, 0.0).tolist() == [[[0, 255], [0, 0]]]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), confidence=st.floats(0, 1), scale=st.sampled_from([0.1, 3.0, 1e4]))
def test_pseudo_labels_are_allowed_confident_and_inside(seed: int, confidence: float, scale: float) -> None:
    batch = pairs(2, seed)
    logits = scale * torch.randn((2, CLASSES, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))
    made = pseudo_labels(logits, batch["labels"], batch["inside"], confidence)
    fewer = pseudo_labels(logits, batch["labels"], batch["inside"], min(1.0, confidence + 0.2))
    for n, y, x in np.ndindex(2, SIDE, SIDE):
        scores = logits[n, :, y, x].masked_fill(~batch["labels"][n], -torch.inf)
        assert made[n, y, x] in (255, int(scores.argmax()))
        assert batch["inside"][n, y, x] or made[n, y, x] == 255
    assert torch.equal(fewer < 255, (made < 255) & (fewer < 255)), "a higher confidence takes pixels away"
    assert torch.equal(pseudo_labels(logits, batch["labels"], batch["inside"], 0.0) < 255, batch["inside"])


def test_pictures_targets_and_borders_are_mixed_alike() -> None:
    numbers = torch.arange(3).view(3, 1, 1).expand(3, 4, 4)
    boxes = torch.zeros(3, 4, 4, dtype=torch.bool)
    boxes[0, :2], boxes[2, :, 3] = True, True
    mixed = cutmix(numbers, boxes)
    assert mixed[0].tolist() == [[2] * 4] * 2 + [[0] * 4] * 2
    assert mixed[1].tolist() == [[1] * 4] * 4
    assert mixed[2].tolist() == [[2, 2, 2, 1]] * 4
    assert torch.equal(cutmix(numbers[:, None].expand(3, 2, 4, 4), boxes[:, None]), mixed[:, None].expand(3, 2, 4, 4))
    assert torch.equal(cutmix(numbers > 1, boxes), mixed > 1)


def test_few_confident_pixels_weigh_little() -> None:
    """The sum over the pixels with a target is divided by all pixels inside, of each picture for itself."""
    logits = torch.zeros(2, CLASSES, 2, 2)
    targets = torch.full((2, 4, 4), 255)
    targets[0, 0, 0], targets[1, :2] = 1, 3
    inside = torch.ones(2, 4, 4, dtype=torch.bool)
    inside[0, 2:] = False
    assert float(consistency(logits, targets, inside)) == pytest.approx(np.log(CLASSES) * (1 / 8 + 8 / 16) / 2)


def test_a_picture_without_pixels_or_targets_adds_nothing() -> None:
    batch, learner = pairs(2), objective(toy(), weak_weight=0.0)
    batch["inside"][:] = False
    supervised = learner.supervised(learner.network(batch["pictures"]), batch["masks"], batch["weights"])
    assert torch.allclose(learner(batch), supervised / 2)


def test_half_precision() -> None:
    batch, learner = pairs(2), objective(toy(), confidence=0.5, dropout=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = learner(batch)
    assert loss.dtype == torch.float32
    assert torch.allclose(loss, learner(batch), rtol=0.05)


def test_settings_out_of_range() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        UniMatchSettings(confidence=1.1)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        UniMatchSettings(treshold=0.9)
    with pytest.raises(ValidationError, match="frozen"):
        UniMatchSettings().weak_weight = 1.0
    with pytest.raises(SettingError, match="UniMatch sees each picture at one scale; switch multi_scale off"):
        UniMatchObjective(toy(), ObjectiveSettings(multi_scale=True), UniMatchSettings())


def coloured(count: int) -> dict[str, Tensor]:
    """Pictures of one class each, told by its colour; nothing but their image labels is known."""
    classes = torch.arange(count) % (CLASSES - 1)
    batch = pairs(count, boxes=True)
    for name in PICTURES:
        batch[name] = 0.1 * batch[name] + torch.eye(3)[classes][:, :, None, None]
    batch["masks"][:], batch["weak_masks"][:], batch["inside"][:] = 255, 255, True
    batch["labels"] = torch.eye(CLASSES, dtype=torch.bool)[classes + 1]
    return batch


@pytest.mark.parametrize("image_labels", [True, False])
def test_it_learns_from_image_labels_alone(image_labels: bool) -> None:
    """Targets that the labels leave no choice for teach the classes; without them there is nothing to learn from."""
    batch = coloured(6)
    learner = objective(toy(1), image_labels=image_labels)
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        learner(batch).backward()
        optimizer.step()
    learner.eval()
    right = learner.network(batch["weak_pictures"]).argmax(dim=1) == batch["labels"].long().argmax(dim=1)[:, None, None]
    assert (right.float().mean() > 0.95) == image_labels
