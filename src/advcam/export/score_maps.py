"""Score maps as the evaluator of wsolevaluation reads them (github.com/clovaai/wsolevaluation, evaluation.py).

    IMAGE_ID.npy     the map of the one class of the picture: (224, 224), float32, in [0, 1]

IMAGE_ID is the path of the picture in its `image_ids.txt`, with its extension: `val2/995/0.jpeg.npy`. The boxes and
masks that it compares are those of pictures resized to 224 x 224, so the maps have that size as well.
"""

from pathlib import Path

import numpy as np

from advcam.errors import SettingError
from advcam.store.reading import inside
from advcam.types import FloatArray

#: Side of the maps, in pixels.
SIDE = 224


def write_score_map(folder: Path, id_: str, scores: FloatArray) -> None:
    """Write the map of a picture.

    Args:
        folder: `--scoremap_root` of the evaluator.
        id_: The picture's path in the data set, with `/`.
        scores: (224, 224), in [0, 1].

    Raises:
        SettingError: The map has another size or range.
        DatasetError: The id leads out of the folder.
        OSError: It cannot be written.
    """
    if scores.shape != (SIDE, SIDE) or not (scores.min() >= 0 and scores.max() <= 1):
        raise SettingError(f"score maps are ({SIDE}, {SIDE}) with values in [0, 1]; got shape {scores.shape}")
    target = inside(folder, f"{id_}.npy")
    target.parent.mkdir(parents=True, exist_ok=True)
    np.save(target, scores.astype(np.float32), allow_pickle=False)
