"""The objective of segmentation: losses over scales, frozen statistics, the average of the weights."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from advcam.segment.losses import balanced_cross_entropy, cross_entropy
from advcam.segment.network import SegmentationNetwork
from advcam.segment.objective import ObjectiveSettings, SegmentationObjective
from advcam.training.augment import Normalisation
from advcam.training.loop import LoopSettings, train
from advcam.training.schedule import Polynomial, create_optimizer

NORMALISATION = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
CLASSES = 3


class Tiny(SegmentationNetwork):
    """A convolution of stride 2 with batch normalisation, and a head with another."""

    def __init__(self) -> None:
        encoder = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        super().__init__(encoder, CLASSES, NORMALISATION, (4,))
        self.head = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, CLASSES, 1))

    def encode(self, inputs: Tensor) -> list[Tensor]:
        return [self.encoder(inputs)]

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.head(features[-1])

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.head.named_parameters()


class Drawn:
    """Pictures of noise with masks of noise."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: value[0] for name, value in batch(1, seed=index).items()}


def objective(**settings: object) -> SegmentationObjective:
    torch.manual_seed(0)
    return SegmentationObjective(Tiny(), ObjectiveSettings(**settings))


def batch(count: int = 2, side: int = 13, seed: int = 1) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, CLASSES, (count, side, side), generator=random)
    masks[:, :2] = 255
    pictures = torch.randn((count, 3, side, side), generator=random)
    return {"pictures": pictures, "masks": masks, "weights": torch.rand((count,), generator=random)}


def literal_loss(logits: Tensor, masks: Tensor, weights: Tensor) -> float:
    """-log softmax of the label at each known pixel, averaged picture by picture, in float64."""
    scores = functional.interpolate(logits.double(), size=masks.shape[-2:], mode="bilinear", align_corners=False)
    total = 0.0
    for answer, mask, weight in zip(scores.detach().numpy(), masks.numpy(), weights.tolist(), strict=True):
        losses = [np.log(np.exp(answer[:, y, x]).sum()) - answer[mask[y, x], y, x] for y, x in np.argwhere(mask != 255)]
        total += weight * float(np.mean(losses))
    return total / len(masks)


def test_the_loss_is_the_literal_one() -> None:
    made, examples = objective(frozen_statistics=False).eval(), batch()
    logits = made.network(examples["pictures"])
    assert logits.shape[-2:] == (7, 7), "coarser than the picture"
    expected = literal_loss(logits, examples["masks"], examples["weights"])
    assert made(examples).item() == pytest.approx(expected, rel=1e-5)
    assert made.supervised(logits, examples["masks"]).item() == pytest.approx(
        literal_loss(logits, examples["masks"], torch.ones(2)), rel=1e-5
    )


@pytest.mark.parametrize(("loss", "bootstrap"), [("cross-entropy", 0.3), ("balanced", 0.0), ("balanced", 0.4)])
def test_the_settings_choose_the_loss(loss: str, bootstrap: float) -> None:
    made, examples = objective(loss=loss, bootstrap=bootstrap).eval(), batch()
    function = {"cross-entropy": cross_entropy, "balanced": balanced_cross_entropy}[loss]
    logits = made.network(examples["pictures"])
    assert torch.equal(made(examples), function(logits, examples["masks"], examples["weights"], bootstrap))
    assert not torch.isclose(made(examples), objective().eval()(examples))


def test_several_scales_are_three_losses_and_that_of_their_maximum() -> None:
    """DeepLabV2: scales 1, 0.75 and 0.5; the maximum is taken of the scores at the size of the first."""
    made, examples = objective(multi_scale=True).eval(), batch(side=13)
    pictures, masks, weights = examples["pictures"], examples["masks"], examples["weights"]
    answers = []
    for side in (13, 10, 6):  # Python rounds 6.5 to 6
        resized = functional.interpolate(pictures, size=(side, side), mode="bilinear", align_corners=False)
        scores = made.network(resized)
        answers.append(functional.interpolate(scores, size=(7, 7), mode="bilinear", align_corners=False))
    answers.append(torch.maximum(torch.maximum(answers[0], answers[1]), answers[2]))
    expected = sum(literal_loss(answer, masks, weights) for answer in answers)
    assert made(examples).item() == pytest.approx(expected, rel=1e-5)


def test_a_loss_over_scales_reaches_every_parameter() -> None:
    made = objective(multi_scale=True).train()
    made(batch()).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in made.parameters())


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_of_the_backbone_stay(frozen: bool) -> None:
    """Those of the head are learnt: it starts at random."""
    made = objective(frozen_statistics=frozen).train()
    before = {name: value.clone() for name, value in made.network.named_buffers()}
    made(batch())
    changed = {name for name, value in made.network.named_buffers() if not torch.equal(value, before[name])}
    own = {f"head.0.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed == own | (set() if frozen else {name.replace("head.0", "encoder.1") for name in own})
    normalisation = made.network.encoder[1]
    assert normalisation.training is not frozen
    assert made.network.encoder[0].training
    assert normalisation.weight.requires_grad, "scales and shifts are learnt all the same"
    assert not any(module.training for module in made.eval().modules())


def test_without_an_average_the_network_itself_is_kept() -> None:
    made = objective()
    before = copy.deepcopy(made.state_dict())
    made.after_step()
    assert made.kept is made.network
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert not any(name.startswith("averaged.") for name in before)


def test_the_average_is_the_literal_one() -> None:
    """Mean of the weights with decay min(d, (1 + n) / (10 + n)) after step n; numbers of batches are those of now."""
    made = objective(average=0.3, frozen_statistics=False).train()
    mean = {name: value.double().clone() for name, value in made.network.state_dict().items()}
    optimizer = torch.optim.SGD(made.network.parameters(), lr=0.5)
    for step in range(1, 6):
        optimizer.zero_grad()
        made(batch(seed=step)).backward()
        optimizer.step()
        made.after_step()
        decay = min(0.3, (1 + step) / (10 + step))
        for name, value in made.network.state_dict().items():
            mean[name] = decay * mean[name] + (1 - decay) * value.double()
    assert made.kept is not made.network
    for name, value in made.kept.state_dict().items():
        expected = made.network.state_dict()[name] if name.endswith("num_batches_tracked") else mean[name]
        assert torch.allclose(value.double(), expected.double(), atol=1e-6), name
    assert not torch.allclose(made.kept.head[1].weight, made.network.head[1].weight, atol=1e-4)


def test_the_average_is_not_trained_and_always_ready_to_answer() -> None:
    made = objective(average=0.9).train()
    made(batch()).backward()
    assert all(not p.requires_grad and p.grad is None for p in made.kept.parameters())
    assert not any(module.training for module in made.kept.modules())
    state = made.state_dict()
    assert {f"averaged.{name}" for name in made.network.state_dict()} < set(state)
    assert int(state["updates"]) == 0


def test_the_loop_keeps_the_average(tmp_path: Path) -> None:
    made = objective(average=0.5)
    optimizer = create_optimizer("sgd", made.network.parameter_groups(0.1, 10.0, 0.0))
    settings = LoopSettings(epochs=2, batch_size=2, precision="float32")
    train(made, optimizer, Polynomial(), Drawn(), settings, tmp_path)
    best = load_file(tmp_path / "best.safetensors")
    assert int(made.updates) == 6
    assert all(torch.equal(value, best[name]) for name, value in made.kept.state_dict().items())
    assert not torch.equal(best["head.1.weight"], made.network.head[1].weight)


@pytest.mark.parametrize("wrong", [{"average": 1.0}, {"bootstrap": 1.0}, {"loss": "dice"}, {"ema": 0.9}])
def test_settings_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ObjectiveSettings(**wrong)
