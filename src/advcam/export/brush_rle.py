"""Brush masks of Label Studio: run lengths as a stream of bits.

The stream holds the R, G, B and A of every pixel, row by row; a pixel belongs to the mask where A is not 0. It begins
with 32 bits: the number of values; 5 bits: the bits of a value less 1; four times 4 bits: the bits less 1 of the four
widths in which lengths are written. Then entries follow until all values are there: 1 bit: whether one value is
repeated; 2 bits: which of the widths; so many bits: the length less 1; then the value once, or so many values. Zeros
fill the last byte. In JSON the bytes are a list of integers.

Specification: the package rle-pack of thi.ng/umbrella; Label Studio documents "format": "rle" of its BrushLabels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Widths of lengths, in bits, that Label Studio itself writes; one length counts 1 to 2**16 values.
_WIDTHS = np.array([3, 4, 8, 16])
_LONGEST = 2**16
_CHANNELS = 4
_VALUE_BITS = 8
_HEADER_BITS = 32 + 5 + 4 * 4


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """The bytes of a mask.

    Args:
        mask: (H, W), not empty; every pixel of it becomes 255 in all four channels.
    """
    flat = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size) * _CHANNELS
    pieces = (lengths - 1) // _LONGEST + 1
    values = np.repeat(flat[starts], pieces)
    counts = np.full(len(values), _LONGEST)
    counts[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _LONGEST
    which = np.searchsorted(1 << _WIDTHS, counts)
    widths = _WIDTHS[which]
    entries = ((((4 + which) << widths) + counts - 1) << _VALUE_BITS) + values * 255
    return np.packbits(np.concatenate([_header(flat.size), _bits(entries, 3 + widths + _VALUE_BITS)])).tolist()


def decode_brush(content: list[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask that the bytes hold.

    Args:
        content: Bytes as integers, 0 to 255.
        size: (H, W) that the mask must have; nothing larger is ever built.

    Raises:
        ValueError: The bytes are damaged, end early, or hold another number of pixels.
    """
    try:
        if not isinstance(content, list):  # a number would be taken for a count of bytes
            raise TypeError
        stream = bytes(content)
    except (TypeError, ValueError) as error:
        raise ValueError("the bytes are no integers from 0 to 255") from error
    height, width = size
    total = height * width * _CHANNELS
    values, lengths = _entries(stream, _read_header(stream, total), total)
    alphas = np.diff(np.cumsum(lengths) // _CHANNELS, prepend=0)  # of the values 3, 7, 11.. so many lie in each run
    return np.repeat(np.array(values) != 0, alphas).reshape(size)


def _header(pixels: int) -> NDArray[np.uint8]:
    fields = np.array([pixels * _CHANNELS, _VALUE_BITS - 1, *(_WIDTHS - 1)])
    return _bits(fields, np.array([32, 5, 4, 4, 4, 4]))


def _bits(numbers: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Numbers one after the other, each in so many bits, the highest first."""
    ends = np.cumsum(widths)
    shifts = np.repeat(ends, widths) - 1 - np.arange(ends[-1])
    bits: NDArray[np.uint8] = ((np.repeat(numbers, widths) >> shifts) & 1).astype(np.uint8)
    return bits


def _read_header(stream: bytes, total: int) -> list[int]:
    """The four widths of lengths."""
    if 8 * len(stream) < _HEADER_BITS:
        raise ValueError("the bytes end within the header")
    count, value_bits = _number(stream, 0, 32), _number(stream, 32, 5) + 1
    if count != total:
        raise ValueError(f"the bytes hold {count:,} values instead of {total:,}, 4 for each pixel of the picture")
    if value_bits != _VALUE_BITS:
        raise ValueError(f"the values have {value_bits} bits instead of {_VALUE_BITS}")
    return [_number(stream, place, 4) + 1 for place in range(37, _HEADER_BITS, 4)]


def _entries(stream: bytes, widths: Sequence[int], total: int) -> tuple[list[int], list[int]]:
    """Values, and how often each comes."""
    values: list[int] = []
    lengths: list[int] = []
    place, found = _HEADER_BITS, 0
    while found < total:
        kind = _number(stream, place, 3)
        width = widths[kind & 3]
        count = _number(stream, place + 3, width) + 1
        shown = 1 if kind & 4 else count
        end = place + 3 + width + shown * _VALUE_BITS
        if end > 8 * len(stream) or found + count > total:
            raise ValueError(f"the bytes are damaged after {found:,} of {total:,} values")
        values += _number(stream, place + 3 + width, shown * _VALUE_BITS).to_bytes(shown)
        lengths += [count] if kind & 4 else [1] * count
        place, found = end, found + count
    return values, lengths


def _number(stream: bytes, place: int, width: int) -> int:
    """The number in some bits."""
    end = place + width
    last = (end + 7) // 8
    return (int.from_bytes(stream[place // 8 : last]) >> (8 * last - end)) & ((1 << width) - 1)
