"""A segmentation network on disk that has learnt nothing, in the format of `load_segmenter`."""

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

from advcam.segment.network import NetworkSettings, create_network
from advcam.segment.settings import SegmenterSettings


def write_segmenter(run: Path, names: Sequence[str], **network: object) -> Path:
    """Write it into the folder of a run; the folder.

    Args:
        run: The folder, created with its parents.
        names: Of the classes.
        network: Settings of the network.
    """
    settings = SegmenterSettings(network=NetworkSettings(weights="random", **network))
    made = create_network(settings.network, len(names) + 1, seed=3)
    folder = run / "segmenter"
    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in made.state_dict().items()}, folder / "best.safetensors")
    facts = {"advcam_segmenter": 1, "class_names": list(names), "settings": settings.model_dump(mode="json")}
    (folder / "segmenter.json").write_text(json.dumps(facts))
    return run
