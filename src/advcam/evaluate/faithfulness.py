"""Faithfulness, which needs no masks: does the probability of the class follow the map?

Insertion and deletion: Petsiuk, Das, Saenko, "RISE", BMVC 2018. Average drop and average increase:
Chattopadhay et al., "Grad-CAM++", WACV 2018. All of them ask a network about pictures that no camera
takes, so they compare maps of ONE network, not networks.

Any network works: `probabilities` maps pictures (N, 3, H, W), RGB in [0, 1], to (N, K) in [0, 1], after softmax where
the classes exclude each other and after sigmoid where they do not. For a `Classifier` that is
`lambda pictures: classifier.respond(classifier.normalise(pictures)).scores.softmax(dim=1)`, called inside
`with classifier.frozen():`, for a network in training mode answers by the batch it sees.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from advcam.errors import ModelError, PictureError, SettingError

Probabilities = Callable[[Tensor], Tensor]

#: Side and standard deviation of the Gaussian blur that insertion starts from, in pixels (code of RISE).
BLUR_SIZE, BLUR_SIGMA = 11, 5.0
#: Colour that deletion leaves: the mean of ImageNet, which is zero to a network that normalises by it (code of RISE).
DELETED = (0.485, 0.456, 0.406)


@dataclass(frozen=True, eq=False)
class PixelCurve:
    """Probability of the class while pixels change, in the order of a map.

    Args:
        fractions: Share of the pixels changed so far, 0 to 1, (S + 1,), float64.
        values: Probability of the class, (S + 1,), float64.
    """

    fractions: Tensor
    values: Tensor

    @property
    def area(self) -> float:
        """Area under the curve by trapezoids, in [0, 1]."""
        return float(torch.trapezoid(self.values, self.fractions))


@dataclass(frozen=True)
class Confidence:
    """Probability of the class in one picture, and in the picture multiplied by the map.

    Args:
        whole: In the picture, 0 to 1.
        masked: In the picture times the map, 0 to 1.
    """

    whole: float
    masked: float


def insertion(
    probabilities: Probabilities,
    picture: Tensor,
    class_map: Tensor,
    class_id: int,
    *,
    steps: int = 224,
    batch_size: int = 32,
) -> PixelCurve:
    """Sharp pixels are put into the blurred picture, highest map value first; the larger the area, the better.

    The blur is a Gaussian of 11 x 11 pixels with sigma 5 at any picture size. Deviation from the code of RISE: the
    border is repeated, where theirs darkens towards the mean colour; so a flat picture stays flat.

    Pixels of equal map value change in the order of their position, row by row (a stable sort; RISE leaves the order
    of ties to the sort). A map with large flat parts, saturated or zero, is therefore scored partly by where those
    lie: compare it with other maps only after looking at how much of it is flat.

    Args:
        probabilities: The network (see the module).
        picture: (3, H, W), RGB in [0, 1].
        class_map: (H, W), any finite values, on the picture's device; only their order counts.
        class_id: The class, counted from 0.
        steps: Number of steps S, 1 to H W, of H W / S pixels each (rounded down in sum). RISE: 224 steps of 224 pixels.
        batch_size: Pictures that the network sees at once.

    Returns:
        The curve, from the blurred picture (0) to the picture (1).

    Raises:
        PictureError: A picture or map of another shape, not finite, or a picture outside [0, 1].
        SettingError: A number of steps, a batch size or a class out of range.
        ModelError: The network does not answer probabilities (N, K).
    """
    _check(picture, class_map)
    return _curve(probabilities, (_blurred(picture), picture), class_map, class_id, steps, batch_size)


def deletion(
    probabilities: Probabilities,
    picture: Tensor,
    class_map: Tensor,
    class_id: int,
    *,
    steps: int = 224,
    batch_size: int = 32,
) -> PixelCurve:
    """Pixels are replaced by the mean colour of ImageNet, highest map value first; the smaller the area, the better.

    Arguments, ties and errors: see `insertion`.

    Returns:
        The curve, from the picture (0) to a picture of one colour (1).
    """
    _check(picture, class_map)
    blank = picture.new_tensor(DELETED).view(3, 1, 1).expand_as(picture)
    return _curve(probabilities, (picture, blank), class_map, class_id, steps, batch_size)


def confidence(probabilities: Probabilities, picture: Tensor, class_map: Tensor, class_id: int) -> Confidence:
    """Probability of the class with and without what the map hides, for `average_drop` and `average_increase`.

    The RGB values are multiplied by the map, so what the map leaves out is black to the network.

    Args:
        probabilities: The network (see the module).
        picture: (3, H, W), RGB in [0, 1].
        class_map: (H, W), in [0, 1], on the picture's device.
        class_id: The class, counted from 0.

    Raises:
        PictureError: As for `insertion`, or a map outside [0, 1].
        SettingError: A class out of range.
        ModelError: The network does not answer probabilities (N, K).
    """
    _check(picture, class_map)
    if class_map.min() < 0 or class_map.max() > 1:
        raise PictureError(
            "a picture is multiplied by a map between 0 and 1; got values from "
            f"{float(class_map.min()):g} to {float(class_map.max()):g}: divide the map by its maximum"
        )
    whole, masked = _ask(probabilities, torch.stack([picture, picture * class_map]), class_id).tolist()
    return Confidence(whole, masked)


def average_drop(confidences: Sequence[Confidence]) -> float:
    """Mean over the pictures of max(0, whole - masked) / whole, in percent, 0 to 100; the smaller, the better.

    A picture in which the class has probability 0 can lose nothing and counts as 0.

    Raises:
        SettingError: No picture.
    """
    return _mean_percent([max(0.0, c.whole - c.masked) / c.whole if c.whole else 0.0 for c in confidences])


def average_increase(confidences: Sequence[Confidence]) -> float:
    """Share of the pictures in which the class is more probable under the map, in percent; the larger, the better.

    Raises:
        SettingError: No picture.
    """
    return _mean_percent([float(c.masked > c.whole) for c in confidences])


def _curve(
    probabilities: Probabilities,
    ends: tuple[Tensor, Tensor],
    class_map: Tensor,
    class_id: int,
    steps: int,
    batch_size: int,
) -> PixelCurve:
    """Probability of the class on the way from one picture to another, both (3, H, W)."""
    pixels = class_map.numel()
    if not 1 <= steps <= pixels:
        raise SettingError(f"steps are 1 to the number of pixels, {pixels}; got {steps}")
    if batch_size < 1:
        raise SettingError(f"batch_size is at least 1; got {batch_size}")
    changed = torch.arange(steps + 1) * pixels // steps
    batches = _batches(ends, _ranks(class_map), torch.split(changed, batch_size))
    values = [_ask(probabilities, batch, class_id) for batch in batches]
    return PixelCurve(changed.double() / pixels, torch.cat(values))


def _ranks(class_map: Tensor) -> Tensor:
    """Position of each pixel in the order of the map, (H, W): 0 has the highest value, ties row by row."""
    order = class_map.flatten().sort(descending=True, stable=True).indices
    return order.argsort().view(class_map.shape)


def _batches(ends: tuple[Tensor, Tensor], ranks: Tensor, counts: Sequence[Tensor]) -> Iterator[Tensor]:
    """Pictures in which so many pixels, in the order of the ranks, are of the second end, (n, 3, H, W) each."""
    start, end = ends
    for batch in counts:
        yield torch.where(ranks < batch.to(ranks.device).view(-1, 1, 1, 1), end, start)


def _ask(probabilities: Probabilities, pictures: Tensor, class_id: int) -> Tensor:
    """Probabilities of one class, (N,), float64, on the CPU."""
    with torch.no_grad():
        answer = probabilities(pictures)
    if answer.ndim != 2 or len(answer) != len(pictures):
        raise ModelError(
            f"the network answers one row of probabilities for each of {len(pictures)} pictures, (N, K); "
            f"got shape {tuple(answer.shape)}"
        )
    if not 0 <= class_id < answer.shape[1]:
        raise SettingError(f"the network has classes 0 to {answer.shape[1] - 1}; got class {class_id}")
    values = answer[:, class_id].double().cpu()
    # Rounding may carry a softmax a little above 1.
    if not bool(((values >= 0) & (values <= 1 + 1e-4)).all()):
        raise ModelError(
            f"the network answers probabilities between 0 and 1; got {values.min():g} to {values.max():g}: "
            "apply softmax or sigmoid to its scores"
        )
    return values.clamp(max=1)


def _blurred(picture: Tensor) -> Tensor:
    """The picture (3, H, W) under the Gaussian blur, its border repeated outside."""
    offsets = torch.arange(BLUR_SIZE, dtype=picture.dtype, device=picture.device) - BLUR_SIZE // 2
    kernel = torch.exp(-offsets.square() / (2 * BLUR_SIGMA**2))
    kernel = kernel / kernel.sum()
    padded = functional.pad(picture[:, None], (BLUR_SIZE // 2,) * 4, mode="replicate")
    blurred = functional.conv2d(functional.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    # Rounding may carry white a little above 1.
    return blurred[:, 0].clamp(0, 1)


def _check(picture: Tensor, class_map: Tensor) -> None:
    if picture.ndim != 3 or picture.shape[0] != 3 or not picture.is_floating_point():
        raise PictureError(f"a picture is a float tensor (3, H, W); got {tuple(picture.shape)} of {picture.dtype}")
    if class_map.shape != picture.shape[1:] or not class_map.numel():
        raise PictureError(
            f"a map has the size of its picture, {tuple(picture.shape[1:])}; got {tuple(class_map.shape)}: upsample it"
        )
    if not torch.isfinite(class_map).all():
        raise PictureError("the map holds NaN or infinity; it cannot put the pixels into an order")
    if not bool(((picture >= 0) & (picture <= 1)).all()):
        raise PictureError("a picture holds RGB values between 0 and 1; got others: divide bytes by 255")


def _mean_percent(shares: list[float]) -> float:
    if not shares:
        raise SettingError("an average needs at least one picture; got none")
    return 100 * sum(shares) / len(shares)
