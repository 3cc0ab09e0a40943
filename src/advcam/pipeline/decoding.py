"""Decoding pictures in a process of its own, for files at which a process died.

A decoder that crashes, or takes all memory, ends that process alone: the picture is named and left out.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from PIL import Image

from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError

Decoder = Callable[[Path], Image.Image]


class CarefulDecoder:
    """Decodes pictures, one at a time, in another process; as a context manager it ends that process.

    Args:
        decode: A function of a module, which the other process can import.
    """

    def __init__(self, decode: Decoder = read_picture) -> None:
        self._decode, self._lock = decode, Lock()
        self._pool = self._new_pool()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def __call__(self, path: Path) -> Image.Image:
        """Decode a picture; callable from several threads.

        Raises:
            PictureError: The picture cannot be used, or its decoder brings a process down.
        """
        with self._lock:
            try:
                return self._pool.submit(self._decode, path).result()
            except BrokenProcessPool as error:
                self._pool = self._new_pool()
                raise PictureError(
                    f"{path} brings down the process that decodes it; save it with another program, or leave it out"
                ) from error

    def _new_pool(self) -> ProcessPoolExecutor:
        # Not forked: a copy of a process with threads may hang.
        return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
