"""The pictures of a shard, read ahead; after the death of a process with care."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

from PIL import Image

from advcam.datasets.pictures import read_picture
from advcam.pipeline.decoding import CarefulDecoder, Decoder
from advcam.pipeline.flow import read_ahead
from advcam.pipeline.shards import Shard
from advcam.types import Sample


def pictures_of(
    shard: Shard, ahead: int, stack: ExitStack, decode: Decoder = read_picture
) -> Iterator[tuple[Sample, Any, Future[Image.Image]]]:
    """Samples with what is given of each, and the picture or the error that reading it ends in.

    Args:
        shard: Where `careful`, pictures are decoded in a process of their own.
        ahead: Pictures that are read meanwhile.
        stack: Ends that process.
        decode: Reads a picture; a function of a module.
    """
    read = stack.enter_context(CarefulDecoder(decode)) if shard.careful else decode
    given = shard.given or (None,) * len(shard.samples)
    items = zip(shard.samples, given, strict=True)
    for (sample, told), picture in read_ahead(items, lambda item: read(item[0].path), ahead):
        yield sample, told, picture
