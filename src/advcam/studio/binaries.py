"""Maps and masks as bytes for the page: the length of a header, the header in JSON, then the numbers.

    uint32, little-endian     length of the header in bytes
    header                    JSON in UTF-8, filled up with blanks so that the numbers begin at a multiple of 8
    numbers                   C order, little-endian; maps float16, masks uint8, or uint16 where a number exceeds 255

So a page lays a typed array over what it was sent, without a copy.
"""

import json
import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advcam.errors import SettingError
from advcam.types import Attribution, FloatArray, Mask
from advcam.untrusted import parse_json

_LENGTH = struct.Struct("<I")
#: Bytes that the header of a mask may have.
_MOST_HEADER = 4096
_TYPES: dict[str, np.dtype[np.uint8] | np.dtype[np.uint16]] = {"u1": np.dtype(np.uint8), "<u2": np.dtype("<u2")}


def encode_maps(numbers: Sequence[int | None], attribution: Attribution, step_scores: FloatArray | None) -> bytes:
    """Maps of a picture, with their steps where they were recorded.

    The header has numbers, names and class_ids of the C classes, `shape` (C, S, h, w), S = 1 without steps, `scores`
    (C, S) or null, and height and width of the picture.

    Args:
        numbers: Of the classes in masks; None for a class that masks do not have.
        attribution: The maps.
        step_scores: Score of each class after each step, (C, S).
    """
    maps = attribution.maps[:, None] if attribution.steps is None else attribution.steps
    scores = attribution.scores[:, None] if attribution.steps is None else step_scores
    height, width = attribution.image_size
    header = {
        "numbers": list(numbers),
        "names": list(attribution.class_names),
        "class_ids": list(attribution.class_ids),
        "shape": list(maps.shape),
        "scores": None if scores is None else [[_finite(one) for one in row] for row in scores.tolist()],
        "height": height,
        "width": width,
    }
    return _with_header(header, maps.astype("<f2"))


def encode_mask(mask: Mask) -> bytes:
    """A mask (H, W) of numbers from 0 to 65535."""
    numbers = mask.astype("<u2" if mask.max(initial=0) > 255 else "u1")
    header = {"height": mask.shape[0], "width": mask.shape[1], "dtype": "u1" if numbers.itemsize == 1 else "<u2"}
    return _with_header(header, numbers)


def decode_mask(content: bytes, size: tuple[int, int], known: frozenset[int]) -> Mask:
    """A mask as the page sends it.

    Args:
        content: See the top of this module.
        size: (H, W) of the picture.
        known: Numbers that masks of this run may hold.

    Raises:
        SettingError: It is none, of another size, or holds another number.
    """
    try:
        (length,) = _LENGTH.unpack_from(content)
        if length > _MOST_HEADER:
            raise ValueError(f"a header of {length:,} bytes")
        header = parse_json(content[4 : 4 + length])
        stated, kind = (header["height"], header["width"]), _TYPES[header["dtype"]]
        numbers: NDArray[np.unsignedinteger] = np.frombuffer(content[4 + length :], kind)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise SettingError(
            "that is no mask: expected the length of a header, the header with height, width and dtype (u1 or <u2), "
            "and the numbers"
        ) from error
    if stated != size or len(numbers) != size[0] * size[1]:
        raise SettingError(
            f"the picture has {size[1]} x {size[0]} pixels, but the mask is said to have {stated[1]} x {stated[0]} and "
            f"brings {len(numbers):,}; load the picture again"
        )
    strange = set(np.flatnonzero(np.bincount(numbers)).tolist()) - known
    if strange:
        raise SettingError(f"no class of this run has the number {min(strange)}; paint with the classes that it has")
    mask: Mask = numbers.reshape(size).astype(np.int32)
    return mask


def most_bytes_of_a_mask(size: tuple[int, int]) -> int:
    """Bytes that the mask of a picture (H, W) can have."""
    return _LENGTH.size + _MOST_HEADER + 2 * size[0] * size[1]


def unzipped(content: bytes, most: int) -> bytes:
    """What a gzip stream holds.

    Args:
        content: The stream.
        most: Bytes that it may hold.

    Raises:
        SettingError: It holds more, or is damaged.
    """
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = stream.decompress(content, most + 1)
    except zlib.error as error:
        raise SettingError("the body says that it is gzip, and is not; send it as it is") from error
    if len(plain) > most or not stream.eof:
        raise SettingError("the body is no mask of this picture: it unpacks to more bytes, or is cut off")
    return plain


def _with_header(header: dict[str, object], numbers: NDArray[np.generic]) -> bytes:
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + _LENGTH.size) % 8)
    return _LENGTH.pack(len(text)) + text + np.ascontiguousarray(numbers).tobytes()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
