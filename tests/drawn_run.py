"""A run of `advcam predict` as it lies on disk, of drawn masks: nothing has to be learnt."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from advcam.store.masks import write_mask
from advcam.types import IGNORE, Mask

CLASSES = ("cat", "dog", "traffic light")


def drawn_mask(seed: int, size: tuple[int, int] = (36, 48), numbers: Sequence[int] = (1, 2, 3)) -> Mask:
    """Three rectangles (H, W), one with a hole and undecided pixels around it, and a single pixel."""
    rng = np.random.default_rng(seed)
    height, width = size
    mask = np.zeros(size, dtype=np.int32)
    for number in rng.permutation(list(numbers)):
        y, x = rng.integers(0, height - 14), rng.integers(0, width - 14)
        mask[y : y + 12, x : x + 13] = number
    mask[y : y + 12, x : x + 13][[0, -1]] = IGNORE
    mask[y + 4 : y + 7, x + 4 : x + 8] = 0
    mask[rng.integers(0, height), rng.integers(0, width)] = numbers[0]
    return mask


def write_run(
    root: Path, masks: Mapping[str, Mask], classes: Mapping[int, str] | Sequence[str] = CLASSES, suffix: str = ".png"
) -> Path:
    """Pictures in `root/photographs`, the run in `root/run`; the folder of the run.

    Args:
        root: A folder.
        masks: By the names of the pictures, with `/` and without extension.
        classes: By number, or in order.
        suffix: Of the pictures.
    """
    run = root / "run"
    for number, (name, mask) in enumerate(masks.items()):
        picture = root / "photographs" / f"{name}{suffix}"
        picture.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
        Image.fromarray(values).save(picture)
        write_mask(run / "masks" / f"{name}.png", mask)
    named = classes if isinstance(classes, Mapping) else dict(enumerate(classes, 1))
    entries = [{"number": number, "class_id": number - 1, "name": name} for number, name in named.items()]
    (run / "classes.json").write_text(json.dumps(entries))
    settings = {"inputs": [str(root / "photographs")], "segmenter": "drawn", "out": str(run)}
    (run / "settings.json").write_text(json.dumps(settings))
    return run
