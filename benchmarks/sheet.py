"""Sheets of pictures for the documentation: rows and columns with words, readable on a light and on a dark page.

Tiles lie on a transparent ground, and words are of a grey that stands out from white and from black. Sheets are WebP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from advcam.colours import blend, heat, voc_palette
from advcam.types import IGNORE, Box

_WORDS = (128, 128, 128, 255)
_GAP = 10
#: Colours of classes in the order of a mask's numbers, taken from the palette of PASCAL VOC: red, green, yellow ..
_COLOURS = voc_palette()[[0, 9, 10, 11, 12, 13, 14]]


@dataclass(frozen=True)
class Row:
    """One row of a sheet.

    Args:
        tiles: Pictures of any size, as many as the sheet has columns; None leaves a place empty.
        name: Words above the row.
        captions: Words under each tile.
    """

    tiles: Sequence[Image.Image | None]
    name: str = ""
    captions: Sequence[str] = ()


def sheet(rows: Sequence[Row], columns: Sequence[str] = (), width: int = 240) -> Image.Image:
    """Rows of tiles, each tile `width` pixels wide at its own proportions, with words over columns and rows."""
    across = max(len(row.tiles) for row in rows)
    size = max(14, across * width // 54)  # a page shows a wide sheet smaller
    font, line = ImageFont.load_default(size), size * 3 // 2
    fitted = [[tile and _fit(tile, width) for tile in row.tiles] for row in rows]
    heights = [max(tile.height for tile in tiles if tile) for tiles in fitted]
    words = sum(line * (bool(row.name) + bool(row.captions)) for row in rows)
    height = (line if columns else 0) + sum(heights) + words + _GAP * len(rows)
    page = Image.new("RGBA", (across * (width + _GAP) - _GAP, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(page)
    y = 0

    def write(texts: Sequence[str]) -> int:
        for column, text in enumerate(texts):
            draw.text((column * (width + _GAP), y + 2), text, fill=_WORDS, font=font)
        return line if any(texts) else 0

    y += write(columns)
    for row, tiles, tall in zip(rows, fitted, heights, strict=True):
        y += write([row.name] if row.name else [])
        for column, tile in enumerate(tiles):
            if tile:
                page.paste(tile, (column * (width + _GAP), y))
        y += tall
        y += write(row.captions)
        y += _GAP
    return page


def save(page: Image.Image, path: Path) -> None:
    """Write a sheet as WebP."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, quality=88, method=6)


def heated(
    picture: Image.Image, class_map: NDArray[np.floating], smooth: bool = True, opacity: float = 0.5
) -> Image.Image:
    """The picture with a map (h, w) of values 0 to 1 over it, blue to red; not smooth: each position as a square."""
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    resized = cv2.resize(np.asarray(class_map, np.float32), picture.size, interpolation=how)
    return Image.fromarray(blend(np.asarray(picture), heat(resized.astype(np.float32)), opacity))


def masked(picture: Image.Image, mask: NDArray[np.integer]) -> Image.Image:
    """The picture with the classes of a mask (H, W) in colours; 0 is background and pale, IGNORE white.

    The colours go by the order of the classes in this mask: red, green, yellow, blue ..
    """
    pixels = np.asarray(picture).astype(np.float32)
    pale = 255 - (255 - pixels) * 0.3
    numbers = np.setdiff1d(mask, [0, IGNORE])
    for place, number in enumerate(numbers):
        colour = _COLOURS[1 + place % (len(_COLOURS) - 1)]
        pale[mask == number] = (pixels * 0.55 + colour * 0.45)[mask == number]
    pale[mask == IGNORE] = 255
    return Image.fromarray(pale.astype(np.uint8))


def cut_out(picture: Image.Image, mask: NDArray[np.integer]) -> Image.Image:
    """The picture where the mask (H, W) is not background, and pale elsewhere."""
    pixels = np.asarray(picture)
    return Image.fromarray(np.where((mask > 0)[..., None], pixels, 255 - (255 - pixels) // 5).astype(np.uint8))


def painted(mask: NDArray[np.integer]) -> Image.Image:
    """A mask (H, W) in the colours of PASCAL VOC; IGNORE is white."""
    colours = voc_palette().copy()
    colours[IGNORE] = 255
    return Image.fromarray(colours[mask])


def boxed(picture: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """The picture with boxes in yellow."""
    drawn = picture.copy()
    for box in boxes:
        corners = (box.x0, box.y0, box.x1 - 1, box.y1 - 1)
        ImageDraw.Draw(drawn).rectangle(corners, outline=(255, 220, 0), width=max(3, drawn.width // 120))
    return drawn


def _fit(tile: Image.Image, width: int) -> Image.Image:
    how = Image.Resampling.LANCZOS if tile.width > width else Image.Resampling.NEAREST  # small masks keep their pixels
    return tile.convert("RGB").resize((width, round(tile.height * width / tile.width)), how)
