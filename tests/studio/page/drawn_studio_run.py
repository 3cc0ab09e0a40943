"""A run of localize on drawn pictures with truth, written without a network: maps are hills around the objects."""

from pathlib import Path

import numpy as np

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.pipeline.config import LocalizeSettings, ModelSettings, keep_settings
from advcam.store.classes import ClassNumbers
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.masks import write_mask
from advcam.types import Attribution, FloatArray, Mask

STEPS = 4
SPLIT = "train"


def write_drawn_run(folder: Path, pictures: int = 8) -> Path:
    """The run; its pictures are those of the split `SPLIT`, `STEPS` maps a climb."""
    write_dataset("voc2012", folder / "data", pictures, 0)
    dataset, run, random = open_dataset(folder / "data"), folder / "run", np.random.default_rng(0)
    stored = list[StoredMaps]()
    for sample in dataset.samples(SPLIT):
        truth = dataset.mask(sample.id)
        assert truth is not None
        class_ids = tuple(dataset.class_names.index(name) for name in sample.labels or ())
        steps = np.stack([_climb(truth, class_id + 1, random) for class_id in class_ids])
        size = (truth.shape[0], truth.shape[1])
        names = tuple(dataset.class_names[class_id] for class_id in class_ids)
        scores = random.random((len(class_ids), STEPS), dtype=np.float32).cumsum(axis=1)
        found = Attribution(class_ids, names, steps[:, -1], size, scores[:, 0], steps)
        stored.append(StoredMaps(sample.id, sample.path.stat().st_size, found, scores))
        write_mask(run / "masks" / f"{sample.id}.png", found.label_mask())
    ClassNumbers(run / "classes.json", dataset.class_names).extend(range(len(dataset.class_names)))
    MapStore(run / "maps").write(stored, 0, len(stored) - 1)
    keep_settings(run, LocalizeSettings(data=folder / "data", split=SPLIT, out=run, model=ModelSettings(model="lite0")))
    return run


def _climb(truth: Mask, number: int, random: np.random.Generator) -> FloatArray:
    """Maps (S, h, w) that widen around the pixels of a class, with some noise; float16 as stores keep them."""
    height, width = truth.shape
    h, w = -(-height // 4), -(-width // 4)
    rows, columns = np.nonzero(truth == number)
    y, x = (rows.mean() / 4, columns.mean() / 4) if len(rows) else (h / 2, w / 2)
    square = (np.arange(h)[:, None] - y) ** 2 + (np.arange(w)[None] - x) ** 2
    hills = [np.exp(-square / (2 * (2 + step) ** 2)) + 0.1 * random.random((h, w)) for step in range(STEPS)]
    return np.stack([hill / hill.max() for hill in hills]).astype(np.float16).astype(np.float32)
