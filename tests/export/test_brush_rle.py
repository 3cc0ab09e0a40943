"""Brush masks of Label Studio, against a decoder that reads the specification bit by bit."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from advcam.export.brush_rle import decode_brush, encode_brush

MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20)))


def literal_decode(content):
    """All values of a stream."""
    bits = "".join(f"{byte:08b}" for byte in content)
    place = 0

    def read(width):
        nonlocal place
        place += width
        return int(bits[place - width : place], 2)

    total, value_bits = read(32), read(5) + 1
    widths = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        repeated = read(1)
        count = read(widths[read(2)]) + 1
        values += [read(value_bits)] * count if repeated else [read(value_bits) for _ in range(count)]
    return values


def literal_encode(entries, widths=(3, 4, 8, 16), value_bits=8):
    """A stream of entries (which width, values, repeat them?)."""
    total = sum(count for _, count, _ in entries)
    bits = f"{total:032b}{value_bits - 1:05b}" + "".join(f"{width - 1:04b}" for width in widths)
    for which, count, value in entries:
        repeated = isinstance(value, int)
        bits += f"{int(repeated)}{which:02b}" + f"{count - 1:0{widths[which]}b}"
        bits += "".join(f"{one:0{value_bits}b}" for one in ([value] if repeated else value))
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


@settings(max_examples=200, deadline=None)
@given(mask=MASKS)
def test_the_specification_reads_the_same_mask(mask):
    rgba = np.reshape(literal_decode(encode_brush(mask)), (*mask.shape, 4))
    assert (rgba == mask[..., None] * 255).all()
    assert (decode_brush(encode_brush(mask), mask.shape) == mask).all()


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 5, 64, 65, 16_383, 16_384, 16_385, 32_768, 100_000])
def test_runs_of_every_width_and_those_that_need_several_entries(pixels):
    mask = np.zeros((1, pixels + 3), dtype=bool)
    mask[0, 2:-1] = True
    content = encode_brush(mask)
    assert (np.reshape(literal_decode(content), (1, -1, 4))[..., 3] == mask * 255).all()
    assert (decode_brush(content, mask.shape) == mask).all()


def test_two_pixels_by_hand():
    # 8 values of 8 bits; widths 3, 4, 8, 16; then twice: repeated, width 3, length 4, the value.
    bits = f"{8:032b}" + "00111" + "0010" + "0011" + "0111" + "1111" + "1" + "00" + "011" + "0" * 8 + "100011" + "1" * 8
    assert encode_brush(np.array([[False, True]])) == [
        int(f"{bits:0<88}"[place : place + 8], 2) for place in range(0, 88, 8)
    ]


@st.composite
def streams(draw):
    """Entries of all kinds, as Label Studio's page writes them, with runs that begin inside of a pixel."""
    widths = draw(st.lists(st.integers(1, 16), min_size=4, max_size=4))
    pixels = draw(st.integers(1, 40))
    left, entries = 4 * pixels, []
    while left:
        which = draw(st.integers(0, 3))
        count = draw(st.integers(1, min(left, 2 ** widths[which])))
        value = st.integers(0, 255)
        entries.append((which, count, draw(st.one_of(value, st.lists(value, min_size=count, max_size=count)))))
        left -= count
    return entries, widths, pixels


@settings(max_examples=200, deadline=None)
@given(streams())
def test_any_stream_is_read_by_its_alpha(stream):
    entries, widths, pixels = stream
    content = literal_encode(entries, widths)
    values = literal_decode(content)
    assert decode_brush(content, (1, pixels)).tolist() == [[alpha != 0 for alpha in values[3::4]]]


@settings(max_examples=200, deadline=None)
@given(content=st.lists(st.integers(0, 255), max_size=40), pixels=st.integers(1, 6))
def test_damaged_bytes_make_a_mask_or_a_value_error(content, pixels):
    head = literal_encode([(0, 1, 0)])[4:6]
    for damaged in (content, [*(4 * pixels).to_bytes(4), *head, *content]):
        with suppress(ValueError):
            assert decode_brush(damaged, (1, pixels)).shape == (1, pixels)


GOOD = literal_encode([(0, 4, 0), (0, 4, [1, 2, 3, 4])])


def test_the_stream_that_the_errors_begin_with():
    assert decode_brush(GOOD, (1, 2)).tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("content", "size", "words"),
    [
        (GOOD[:6], (1, 2), "the bytes end within the header"),
        ([], (1, 2), "the bytes end within the header"),
        (GOOD, (1, 3), "the bytes hold 8 values instead of 12, 4 for each pixel of the picture"),
        (GOOD[:-1], (1, 2), "the bytes are damaged after 4 of 8 values"),
        (GOOD[:8], (1, 2), "the bytes are damaged after 0 of 8 values"),
        ([255] * 4 + GOOD[4:], (1, 2), "the bytes hold 4,294,967,295 values instead of 8"),
        (literal_encode([(0, 8, 1)], value_bits=2), (1, 2), "the values have 2 bits instead of 8"),
        ([*GOOD[:-1], 256], (1, 2), "the bytes are no integers from 0 to 255"),
        ([*GOOD[:-1], "1"], (1, 2), "the bytes are no integers from 0 to 255"),
        (None, (1, 2), "the bytes are no integers from 0 to 255"),
        ("text", (1, 2), "the bytes are no integers from 0 to 255"),
        (2**40, (1, 2), "the bytes are no integers from 0 to 255"),
    ],
)
def test_errors_say_what_is_wrong(content, size, words):
    with pytest.raises(ValueError, match=words):
        decode_brush(content, size)


def test_a_run_beyond_the_picture_is_refused():
    content = literal_encode([(2, 200, 1)])
    content[:4] = (8).to_bytes(4)
    with pytest.raises(ValueError, match="the bytes are damaged after 0 of 8 values"):
        decode_brush(content, (1, 2))
