"""What a file of a run has to stand: it can be read to its end, and holds what its kind holds."""

from collections.abc import Callable

import torch
from PIL import Image
from safetensors import safe_open

from advcam.errors import PictureError, one_line
from advcam.store.masks import read_mask
from advcam.store.places import Place
from advcam.store.predictions import mask_digest
from advcam.untrusted import parse_json


def check_mask(path: Place, size: tuple[int, int], digest: str | None) -> None:
    """A mask that can be read and fits its row.

    Args:
        path: Of the PNG.
        size: Height and width of its picture in pixels.
        digest: See `mask_digest`; None: not known.

    Raises:
        PictureError, OSError, SyntaxError: It is damaged, or of another picture.
    """
    check_picture(path)
    mask = read_mask(path)
    if mask.shape != tuple(size):
        raise PictureError(f"is {mask.shape[1]} x {mask.shape[0]} pixels, its picture {size[1]} x {size[0]}")
    if digest is not None and mask_digest(mask) != digest:
        raise PictureError("is not the mask that was written")


def check_picture(path: Place) -> None:
    """A picture that can be decoded: its checksums where it has some (PNG), then its pixels.

    Raises:
        OSError, SyntaxError, ValueError: It cannot.
    """
    with path.open("rb") as file, Image.open(file, formats=["PNG", "JPEG"]) as picture:
        picture.verify()
    with path.open("rb") as file, Image.open(file, formats=["PNG", "JPEG"]) as picture:
        picture.load()


def read_json(path: Place) -> object:
    """The content of a JSON file.

    Raises:
        OSError, ValueError: It cannot be read.
    """
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"is no valid JSON ({one_line(error)})") from error


def read_config(path: Place) -> None:
    """A config.json that holds the settings of a run.

    Raises:
        OSError, ValueError: It does not.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not {"advcam_run", "maps", "outputs", "fingerprints"} <= content.keys():
        raise ValueError("it holds no settings of a run")


def check_network(path: Place) -> None:
    """A network that can be read, and whose numbers are finite.

    Raises:
        OSError, SafetensorError, ValueError: It cannot, or they are not.
    """
    with safe_open(str(path), framework="pt") as file:
        for name in file.keys():  # noqa: SIM118, it is no mapping
            tensor = file.get_tensor(name)
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise ValueError(f"{name} holds numbers that are not finite")


#: What a file of a recipe's run has to stand, by its extension.
CHECKS: dict[str, Callable[[Place], object]] = {
    ".json": read_json,
    ".png": check_picture,
    ".jpg": check_picture,
    ".safetensors": check_network,
}
