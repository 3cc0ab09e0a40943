"""Decoders that bring down their process, for the tests; of few imports, as each process makes them anew."""

import os
import signal
from pathlib import Path

from PIL import Image


def decode(path: Path) -> Image.Image:
    """The picture; files named so end, crash or fail."""
    if path.stem.endswith("exit"):
        os._exit(3)
    if path.stem.endswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    with Image.open(path) as picture:
        return picture.convert("RGB")


def process(path: Path) -> Image.Image:
    """Not a picture but which process decodes: one of so many pixels."""
    decode(path)
    return Image.new("RGB", (os.getpid(), 1))
