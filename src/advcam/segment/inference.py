"""What a segmentation network says of a picture: probabilities and label masks, of pictures of any size.

Softmax is averaged over scales and mirror images, as in the evaluation of DeepLab (Chen et al., TPAMI 2018) and of CCT
(Ouali, Hudelot, Tami, CVPR 2020), and may pass through DeepLab's dense CRF. A large picture is worked on at a smaller
size (`max_side`) or in tiles that overlap (`tile`), or both. Of a tile the middle is kept: each pixel comes from the
tile whose border is farthest, which equals the whole picture at once as far as the receptive field fits into the
overlap. Classes of one tile at a time are held, so memory grows with the tile and not with the picture.

Deviations: where `max_side` made a picture smaller, its probabilities are enlarged to the picture, not its logits; so
the dense CRF runs at the smaller size, whose pixels its constants were chosen for. In tiles the dense CRF sees a tile
at a time, of which the overlap covers twice the standard deviation of its wider kernel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor
from torch.nn import functional

from advcam.attribution.batching import is_out_of_memory
from advcam.attribution.precision import as_said, resolve
from advcam.errors import ModelError, OutOfMemoryError, PictureError, SettingError
from advcam.refine.dense_crf import DEEPLAB, dense_crf, probability_unary
from advcam.segment.network import SegmentationNetwork
from advcam.types import FloatArray, Mask

#: Tiles begin at its multiples, so that the strides of a network fall on the same pixels as in the whole picture.
GRID = 32
#: Share of a tile that the next one repeats.
OVERLAP = 0.25
_SMALLEST_TILE = 128
#: Probabilities that are enlarged to the picture at once.
_BAND = 1 << 23


class InferenceSettings(BaseModel):
    """How a picture is looked at.

    Args:
        scales: Sizes of the picture whose softmax is averaged, each times the size that `max_side` leaves.
        flip: Whether the mirrored picture takes part, at twice the cost.
        max_side: Longer side in pixels to which a larger picture is brought before the network sees it; None: full
            size. Networks know objects at the size that they had in training; far beyond it they see parts of them.
        tile: Side in pixels of the tiles of a picture that is larger after that, a multiple of 32. As large as the
            default of `max_side`: a picture is cut only where its full size was asked for, since a tile sees less of
            what surrounds an object.
        crf: Whether DeepLab's dense CRF follows.
        precision: Number format of the network; "auto" is bfloat16 where the device has instructions for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scales: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    flip: bool = True
    max_side: int | None = Field(default=1024, ge=GRID)
    tile: int = Field(default=1024, ge=_SMALLEST_TILE, multiple_of=GRID)
    crf: bool = False
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    @field_validator("scales")
    @classmethod
    def _usable(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0.1 <= scale <= 4 for scale in scales):
            raise ValueError("each scale lies between 0.1 and 4")
        return scales


@dataclass(frozen=True, eq=False)
class Prediction:
    """The classes of a picture.

    Args:
        mask: (H, W): 0 background, class number.
        confidence: (H, W), float32: probability of the class that the mask has there, in [0, 1].
    """

    mask: Mask
    confidence: FloatArray


def probabilities(
    network: SegmentationNetwork, picture: NDArray[np.uint8], settings: InferenceSettings | None = None
) -> FloatArray:
    """Probabilities of all classes at each pixel. For large pictures `predict` takes far less memory.

    Args:
        network: Put into evaluation mode, and left in it.
        picture: RGB, (H, W, 3).
        settings: None for the defaults.

    Returns:
        (C, H, W), float32, with sum 1 over the classes.

    Raises:
        PictureError: The picture is not RGB in uint8.
        ModelError: The network answers NaN or infinity.
        OutOfMemoryError: Not even a small tile fits into the memory of the device.
    """
    found = np.empty((network.num_classes, *picture.shape[:2]), dtype=np.float32)
    for rows, columns, values in _pieces(network, picture, settings or InferenceSettings(), None):
        found[:, rows, columns] = values.cpu().numpy()
    return found


def predict(
    network: SegmentationNetwork,
    picture: NDArray[np.uint8],
    settings: InferenceSettings | None = None,
    allowed: Sequence[int] | None = None,
) -> Prediction:
    """The most probable class of each pixel, and how probable it is.

    Args:
        network: Put into evaluation mode, and left in it.
        picture: RGB, (H, W, 3).
        settings: None for the defaults.
        allowed: Class numbers, counted from 1, of which each pixel gets one; the background (0) is always among them.
            The probabilities of the others are dropped and those of these divided by their sum. None allows all.

    Raises:
        SettingError: A number that is no class of the network.
        PictureError: The picture is not RGB in uint8.
        ModelError: The network answers NaN or infinity.
        OutOfMemoryError: Not even a small tile fits into the memory of the device.
    """
    numbers = None if allowed is None else _with_background(allowed, network.num_classes)
    mask = np.empty(picture.shape[:2], dtype=np.int32)
    confidence = np.empty(picture.shape[:2], dtype=np.float32)
    for rows, columns, values in _pieces(network, picture, settings or InferenceSettings(), numbers):
        highest, winner = values.max(dim=0)
        chosen = winner.cpu().numpy()
        mask[rows, columns] = chosen if numbers is None else np.array(numbers)[chosen]
        confidence[rows, columns] = highest.cpu().numpy()
    return Prediction(mask, confidence)


def label_mask(
    network: SegmentationNetwork,
    picture: NDArray[np.uint8],
    settings: InferenceSettings | None = None,
    allowed: Sequence[int] | None = None,
) -> Mask:
    """The most probable class of each pixel, (H, W): 0 background, class number. See `predict`."""
    return predict(network, picture, settings, allowed).mask


@dataclass(frozen=True)
class _Stretch:
    """A tile along one side of a picture: pixels `start` to `end`, of which `first` to `last` are kept (half open)."""

    start: int
    end: int
    first: int
    last: int


_Piece = tuple[slice, slice, Tensor]


def _pieces(
    network: SegmentationNetwork, picture: NDArray[np.uint8], settings: InferenceSettings, numbers: list[int] | None
) -> Iterator[_Piece]:
    """Rows, columns and probabilities (C, rows, columns) of pieces that cover the picture.

    Where memory runs out everything comes again, from tiles of half the side.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size or picture.dtype != np.uint8:
        raise PictureError(f"a picture is RGB, (H, W, 3), uint8; got shape {picture.shape} of {picture.dtype}")
    network.eval()
    small = _brought(picture, settings.max_side)
    tile = settings.tile
    while True:
        try:
            with as_said(settings.precision):
                yield from _tiled(network, small, picture.shape[:2], settings, numbers, tile)
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            tile = min(tile, max(small.shape[:2])) // 2 // GRID * GRID
            if tile < _SMALLEST_TILE:
                where = next(network.parameters()).device
                raise OutOfMemoryError(
                    f"not even {_SMALLEST_TILE} x {_SMALLEST_TILE} pixels of a picture fit into the memory of {where}; "
                    "close other programs, or take smaller scales or a smaller network"
                ) from error


def _tiled(
    network: SegmentationNetwork,
    small: NDArray[np.uint8],
    size: tuple[int, int],
    settings: InferenceSettings,
    numbers: list[int] | None,
    tile: int,
) -> Iterator[_Piece]:
    """Pieces of a picture of `size` (H, W) from the tiles of the picture that was brought to a smaller size."""
    height, width = small.shape[:2]
    for rows in _stretches(height, tile):
        for columns in _stretches(width, tile):
            pixels = small[rows.start : rows.end, columns.start : columns.end]
            found = _of_tile(network, pixels, settings, numbers)
            yield from _enlarged(found, rows, columns, (size[0] / height, size[1] / width))


def _stretches(length: int, tile: int) -> list[_Stretch]:
    """Tiles along a side, evenly spread; the middle of each overlap divides two tiles."""
    if length <= tile:
        return [_Stretch(0, length, 0, length)]
    last = -(-(length - tile) // GRID)  # in cells of the grid, as the step; the last tile ends with the picture
    step = int(tile * (1 - OVERLAP)) // GRID
    count = -(-last // step)
    starts = [GRID * (number * last // count) for number in range(count + 1)]
    ends = [*(start + tile for start in starts[:-1]), length]
    borders = [0, *((end + start) // 2 for end, start in zip(ends[:-1], starts[1:], strict=True)), length]
    return [_Stretch(*four) for four in zip(starts, ends, borders[:-1], borders[1:], strict=True)]


@torch.inference_mode()
def _of_tile(
    network: SegmentationNetwork, pixels: NDArray[np.uint8], settings: InferenceSettings, numbers: list[int] | None
) -> Tensor:
    """Probabilities (C, h, w) of a tile (h, w, 3)."""
    weight = next(network.parameters())
    rgb = torch.from_numpy(np.array(pixels)).to(weight.device).permute(2, 0, 1)[None]
    normal = network.normalisation
    centre, spread = (weight.new_tensor(values).view(3, 1, 1) for values in (normal.mean, normal.std))
    inputs = (rgb.to(weight.dtype) / 255 - centre) / spread
    count = network.num_classes if numbers is None else len(numbers)
    mean = torch.zeros((count, *pixels.shape[:2]), device=weight.device)
    for scale in settings.scales:
        for scores in _scores(network, inputs, scale, settings):
            found = scores.softmax(0)
            mean += found if numbers is None else found[numbers]
    # Over the classes that are kept the views add up to their number, or to less where others were dropped.
    mean /= mean.sum(0).clamp_min(torch.finfo(mean.dtype).tiny)
    if settings.crf:
        return dense_crf(rgb, probability_unary(mean[None]), DEEPLAB)[0]
    return mean


def _scores(
    network: SegmentationNetwork, inputs: Tensor, scale: float, settings: InferenceSettings
) -> Iterator[Tensor]:
    """Scores (C, H, W) of the picture (1, 3, H, W) at a scale, and of its mirror image, turned back.

    The view is padded to whole cells of the network (zeros, the mean colour). Else the scores, which cover a part of a
    cell more than the view, would be squeezed into it and lie beside their pixels towards its right and lower side. The
    mirror image is that of the padded view, so that its cells are the same.
    """
    sides = inputs.shape[2:]
    if scale != 1:
        size = [max(1, round(length * scale)) for length in sides]
        inputs = functional.interpolate(inputs, size, mode="bilinear", align_corners=False, antialias=True)
    scaled = inputs.shape[2:]
    padded = functional.pad(inputs, (0, -scaled[1] % GRID, 0, -scaled[0] % GRID))
    views = torch.cat([padded, padded.flip(-1)]) if settings.flip else padded
    answers = _answers(network, views, settings.precision)
    down, across = (
        _centres(0, length) * (view / length) * (cells / whole) - 0.5
        for length, view, whole, cells in zip(sides, scaled, padded.shape[2:], answers.shape[2:], strict=True)
    )
    for answer, mirrored in zip(answers, (False, True), strict=False):
        yield _sampled(answer.flip(-1) if mirrored else answer, down, across)


def _answers(network: SegmentationNetwork, views: Tensor, precision: str) -> Tensor:
    """Scores of the network before softmax, (N, C, h, w), float32."""
    wanted = resolve(precision, next(network.parameters()))
    with torch.autocast(views.device.type, wanted, enabled=wanted != views.dtype):
        scores: Tensor = network(views.contiguous(memory_format=torch.channels_last)).float()
    if not torch.stack(scores.aminmax()).isfinite().all():
        raise ModelError(
            f"the network answers NaN or infinity in {str(wanted).removeprefix('torch.')}; its weights are damaged, "
            "or take precision float32"
        )
    return scores


def _enlarged(found: Tensor, rows: _Stretch, columns: _Stretch, factors: tuple[float, float]) -> Iterator[_Piece]:
    """What is kept of a tile's probabilities (C, h, w), bilinearly at the size of the picture, in bands of rows.

    Args:
        found: The probabilities.
        rows: Where the tile lies in the picture that was brought to a smaller size.
        columns: The same from left to right.
        factors: Height and width of the picture, divided by those of the smaller one.
    """
    if factors == (1, 1):
        kept = (
            slice(rows.first - rows.start, rows.last - rows.start),
            slice(columns.first - columns.start, columns.last - columns.start),
        )
        yield slice(rows.first, rows.last), slice(columns.first, columns.last), found[:, *kept]
        return
    top, bottom, left, right = (
        round(edge * factor)
        for stretch, factor in zip((rows, columns), factors, strict=True)
        for edge in (stretch.first, stretch.last)
    )
    across = _centres(left, right) / factors[1] - 0.5 - columns.start
    band = max(1, _BAND // (len(found) * (right - left)))
    for first in range(top, bottom, band):
        last = min(first + band, bottom)
        down = _centres(first, last) / factors[0] - 0.5 - rows.start
        yield slice(first, last), slice(left, right), _sampled(found, down, across)


def _centres(first: int, last: int) -> Tensor:
    """Centres of the pixels of a side from the first to before the last, (L,), that of pixel 0 being 0.5."""
    return torch.arange(first, last, dtype=torch.float64) + 0.5


def _sampled(values: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Values (C, h, w) at rows (H,) and columns (W,) between the pixels, bilinearly; (C, H, W).

    At the places of `torch.nn.functional.interpolate` it is that without aligned corners, and takes as long.
    """
    normalised = [
        ((places.clamp(0, length - 1) + 0.5) * (2 / length) - 1).to(values)
        for places, length in zip((down, across), values.shape[1:], strict=True)
    ]
    y, x = torch.meshgrid(*normalised, indexing="ij")
    return functional.grid_sample(values[None], torch.stack([x, y], -1)[None], align_corners=False)[0]


def _brought(picture: NDArray[np.uint8], max_side: int | None) -> NDArray[np.uint8]:
    """The picture with its longer side at `max_side`, if it is larger; bilinear and smoothed, as in training."""
    longest = max(picture.shape[:2])
    if max_side is None or longest <= max_side:
        return picture
    height, width = (max(1, round(length * max_side / longest)) for length in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def _with_background(allowed: Sequence[int], num_classes: int) -> list[int]:
    """The background and the class numbers that are allowed, in order."""
    wrong = [number for number in allowed if not 0 <= number < num_classes]
    if wrong:
        raise SettingError(f"class numbers of this network lie between 1 and {num_classes - 1}; got {wrong[0]}")
    return sorted({0, *(int(number) for number in allowed)})
