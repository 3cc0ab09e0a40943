"""What the report draws: overlays as data URIs, the colours of classes, the geometry of the score plot."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from advcam.colours import blend, heat, voc_palette
from advcam.types import Box, FloatArray

_PALETTE = voc_palette()


def shrink(picture: Image.Image, width: int) -> Image.Image:
    """The picture in RGB, at most `width` wide and one and a half times as high; it is never enlarged."""
    smaller = picture.convert("RGB")
    smaller.thumbnail((width, width * 3 // 2), Image.Resampling.LANCZOS)
    return smaller


def data_uri(picture: Image.Image, quality: int = 78) -> str:
    """The picture as `data:image/jpeg;base64,...`, for the `src` of an image."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def heat_overlay(picture: Image.Image, attribution_map: FloatArray) -> Image.Image:
    """The picture under the colours of a map (h, w) of values in [0, 1]: blue 0, red 1."""
    resized = np.asarray(cv2.resize(attribution_map, picture.size, interpolation=cv2.INTER_LINEAR), np.float32)
    return Image.fromarray(blend(np.asarray(picture), heat(resized), 0.5))


def mask_overlay(picture: Image.Image, mask: NDArray[np.int32]) -> Image.Image:
    """The picture, grey and pale where the mask (H, W) is 0, tinted in the colour of the class elsewhere."""
    numbers = np.asarray(cv2.resize(mask, picture.size, interpolation=cv2.INTER_NEAREST), np.int32)
    grey = np.asarray(picture.convert("L").convert("RGB"))
    pale = blend(grey, np.full_like(grey, 255), 0.45)
    tinted = blend(np.asarray(picture), _PALETTE[_palette_index(numbers)], 0.6)
    return Image.fromarray(np.where(numbers[..., None] > 0, tinted, pale))


def box_overlay(picture: Image.Image, size: tuple[int, int], boxes: Sequence[Box], truth: Sequence[Box]) -> Image.Image:
    """The picture with outlines of boxes: the found ones in the colour of their class, the true ones in white.

    Args:
        picture: At any size.
        size: (H, W) of the pixels in which boxes are given.
        boxes: Found.
        truth: True.
    """
    drawn, (height, width) = picture.copy(), size
    lines = ImageDraw.Draw(drawn)
    across, down = drawn.width / width, drawn.height / height
    for box, colour in [*((t, "white") for t in truth), *((b, class_colour(b.class_id + 1)) for b in boxes)]:
        x0, y0 = box.x0 * across, box.y0 * down
        x1, y1 = max(x0, box.x1 * across - 1), max(y0, box.y1 * down - 1)
        lines.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline="black", width=4)
        lines.rectangle((x0, y0, x1, y1), outline=colour, width=2)
    return drawn


def class_colour(number: int) -> str:
    """CSS colour of a class number of a mask, as `mask_overlay` paints it; 0 is black."""
    red, green, blue = _PALETTE[_palette_index(np.array(number))]
    return f"rgb({red}, {green}, {blue})"


def heat_gradient() -> str:
    """CSS gradient of the heat colours, from 0 on the left to 1 on the right."""
    colours = heat(np.linspace(0, 1, 17, dtype=np.float32)[None])[0]
    return f"linear-gradient(90deg, {', '.join(f'rgb({r}, {g}, {b})' for r, g, b in colours)})"


def coverage(attribution_map: FloatArray, image_size: tuple[int, int], threshold: float) -> float:
    """Share of the picture's pixels, 0 to 1, at which a map (h, w) lies above the threshold.

    Args:
        attribution_map: Values in [0, 1].
        image_size: (H, W) of the picture.
        threshold: 0 to 1.
    """
    height, width = image_size
    resized = cv2.resize(attribution_map, (width, height), interpolation=cv2.INTER_LINEAR)
    return float((resized > threshold).mean())


def strip_steps(count: int) -> list[int]:
    """Which of `count` steps a filmstrip shows: the first, the last, and evenly spaced ones between them.

    Up to ten steps are all shown; more are thinned to six to ten, with exactly equal distances where their
    number allows it.
    """
    if count <= 10:
        return list(range(count))
    shown = next((n for n in range(10, 5, -1) if (count - 1) % (n - 1) == 0), 8)
    return [round(step) for step in np.linspace(0, count - 1, shown)]


@dataclass(frozen=True)
class ScorePlot:
    """Geometry of a line plot of a class score over the steps t, in units of its own drawing area.

    Args:
        points: (x, y) of the score after each step; y points down, as in SVG.
        x_ticks: (x, label) of the steps that the axis names.
        y_ticks: (y, label) of round scores.
        left, right, top, bottom: Edges of the area inside the axes.
    """

    points: Sequence[tuple[float, float]]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    left: int = 56
    right: int = 424
    top: int = 16
    bottom: int = 196


def score_plot(scores: Sequence[float]) -> ScorePlot:
    """Lay out the plot of the finite scores after each step, two at least; both axes fit the data."""
    ticks = round_ticks(min(scores), max(scores))
    area = ScorePlot((), (), ())

    def x(step: int) -> float:
        return round(area.left + (area.right - area.left) * step / (len(scores) - 1), 2)

    def y(score: float) -> float:
        share = (score - ticks[0]) / (ticks[-1] - ticks[0])
        return round(area.bottom - (area.bottom - area.top) * share, 2)

    return ScorePlot(
        points=[(x(step), y(score)) for step, score in enumerate(scores)],
        x_ticks=[(x(step), str(step)) for step in _round_steps(len(scores))],
        y_ticks=[(y(tick), f"{tick:g}") for tick in ticks],
    )


def round_ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers at equal distances, the first at most `low`, the last at least `high`.

    A range that is empty, or too narrow to tell its ends apart, is widened.
    """
    least = max(abs(low), abs(high), 1.0) * 1e-3
    if high - low < least:
        low, high = low - least, high + least
    rough = (high - low) / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def _round_steps(count: int) -> list[int]:
    """Round numbers among the steps 0 .. count - 1, for the axis of the plot."""
    return [int(tick) for tick in round_ticks(0, count - 1) if tick.is_integer() and tick < count]


def _palette_index(numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Rows 1 to 254 of the palette, over and over, so that no class is black (background) or 255 (ignore)."""
    return np.where(numbers > 0, (numbers - 1) % 254 + 1, 0).astype(np.int32)
