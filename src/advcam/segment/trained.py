"""A segmentation network on disk, and ready for pictures.

segmenter/  best.safetensors  classes.txt  segmenter.json
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from advcam import untrusted
from advcam.classifiers.catalogue import checked_device
from advcam.classifiers.names import ClassIndex
from advcam.errors import RunError, WeightsError, one_line
from advcam.segment.inference import InferenceSettings, label_mask
from advcam.segment.network import SegmentationNetwork, create_network
from advcam.segment.settings import SegmenterSettings
from advcam.training.loop import BEST_FILE
from advcam.types import Mask

FORMAT_VERSION = 1
CLASSES_FILE, FACTS_FILE = "classes.txt", "segmenter.json"


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained network, ready for pictures.

    Args:
        network: In evaluation mode.
        class_names: K of them; output k + 1 is class k, output 0 the background.
        settings: It was trained with.
        device: Where it is.
    """

    network: SegmentationNetwork
    class_names: tuple[str, ...]
    settings: SegmenterSettings
    device: torch.device

    def label_mask(
        self, picture: Image.Image, inference: InferenceSettings | None = None, labels: Sequence[str] | None = None
    ) -> Mask:
        """The most probable class of each pixel of a picture, (H, W): 0 background, k + 1 for `class_names[k]`.

        Args:
            picture: At any size.
            inference: How it is looked at: scales, flips, tiles, dense CRF; None: at one scale, with its mirror image.
            labels: Names of the classes that it may show; None: all.

        Raises:
            LabelError: The network has no class of that name.
        """
        index = ClassIndex(self.class_names)
        allowed = None if labels is None else [index.find(label) + 1 for label in labels]
        return label_mask(self.network, np.asarray(picture.convert("RGB")), inference, allowed)


def load_segmenter(folder: str | PathLike[str], device: str | torch.device = "cpu") -> Segmenter:
    """The network that a training left, with the weights that were kept.

    Args:
        folder: Of the training, or of a run that has it in `segmenter/`.
        device: Where it is to work.

    Raises:
        RunError: The folder holds none, or a damaged one.
        WeightsError: Its weights are gone or damaged.
        ModelError: The network or device is not there.
    """
    folder = Path(folder)
    folder = folder / "segmenter" if (folder / "segmenter").is_dir() else folder
    path = folder / FACTS_FILE
    if not path.is_file():
        raise RunError(
            f"{folder} holds no trained segmentation network ({FACTS_FILE} is missing); name the --out of advcam "
            "segment or advcam run, or finish its training"
        )
    try:
        facts = untrusted.read_json(path)
        if facts["advcam_segmenter"] != FORMAT_VERSION:
            raise ValueError(f"it has format {facts['advcam_segmenter']}, expected {FORMAT_VERSION}")
        settings = SegmenterSettings(**facts["settings"])
        names = tuple(str(name) for name in facts["class_names"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}); train again in another folder") from error
    untrained = settings.network.model_copy(update={"weights": "random"})
    network = create_network(untrained, len(names) + 1)
    try:
        network.load_state_dict(load_file(folder / BEST_FILE))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(
            f"{folder / BEST_FILE} does not hold the weights of this network ({one_line(error)}); train again in "
            "another folder"
        ) from error
    where = checked_device(device)
    return Segmenter(network.eval().requires_grad_(False).to(where), names, settings, where)
