"""What IRN writes for each picture: confident labels to learn from, and the objects that it found."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcam.pipeline.chain.labelling import instance_entry
from advcam.pipeline.chain.refining import Refined
from advcam.refine.irn.labels import confident_labels
from advcam.store.files import write_text
from advcam.store.masks import write_mask
from advcam.types import Attribution, Instance

#: Objects of a picture (H, W, 3) with its maps; can be sent to another process.
Finder = Callable[[Attribution, NDArray[np.uint8]], list[Instance]]


@dataclass(frozen=True)
class LabelWriter:
    """Writes label masks with what is unsure left out.

    Args:
        conf_fg: Threshold above which maps are confident.
        conf_bg: Threshold below which the background is.
        device: Where the dense CRF works.
    """

    conf_fg: float
    conf_bg: float
    device: str

    def __call__(self, item: Refined, path: Path) -> None:
        """See `FileWriter`."""
        write_mask(
            path,
            confident_labels(
                item.row.attribution, item.picture, conf_fg=self.conf_fg, conf_bg=self.conf_bg, device=self.device
            ),
        )


@dataclass(frozen=True)
class InstanceWriter:
    """Writes the objects of pictures as JSON: class, score and COCO run lengths of each, best first.

    Args:
        find: See `Finder`.
    """

    find: Finder

    def __call__(self, item: Refined, path: Path) -> None:
        """See `FileWriter`."""
        attribution = item.row.attribution
        rows = [instance_entry(one, attribution) for one in self.find(attribution, item.picture)]
        write_text(path, json.dumps(rows, ensure_ascii=False) + "\n")
