"""What a prediction run is told, and which of it decides the masks."""

import hashlib
import json
from pathlib import Path

import torch
from pydantic import Field

from advcam.attribution.precision import resolve
from advcam.pipeline.config import Out, Settings, validated
from advcam.pipeline.shards import SHARD_PICTURES
from advcam.segment.inference import InferenceSettings
from advcam.segment.trained import Segmenter
from advcam.store.run import JSON
from advcam.types import BoxContours


class PredictSettings(Settings):
    """A prediction run.

    Args:
        inputs: Files, folders and patterns.
        segmenter: Folder of a trained segmentation network, or of the run that trained it.
        out: Folder of the run, or its URL.
        labels: A CSV of image labels, or "folders": each pixel gets one of the classes of its picture, or background.
        inference: How a picture is looked at.
        boxes: The largest part of each class, or all.
        overlays: Whether pictures with their masks over them are written.
        device: Where the network works.
        shard_pictures: Pictures that one process works on at a time, and one file of records holds.
    """

    inputs: tuple[str, ...]
    segmenter: Path
    out: Out
    labels: str | None = None
    inference: InferenceSettings = InferenceSettings()
    boxes: BoxContours = "largest"
    overlays: bool = True
    device: str = "cpu"
    shard_pictures: int = Field(default=SHARD_PICTURES, ge=1)

    def sections(self, segmenter: Segmenter) -> dict[str, dict[str, JSON]]:
        """The two sections of the run's config.json: what decides the masks, and what is made of them."""
        deciding = {**self.pinned(segmenter).inference.model_dump(mode="json"), "segmenter": _digest(segmenter)}
        return {"maps": deciding, "outputs": {"boxes": self.boxes, "overlays": self.overlays}}

    def pinned(self, segmenter: Segmenter) -> "PredictSettings":
        """The same with what "auto" precision means for a network, for machines of all kinds."""
        precision = str(resolve(self.inference.precision, next(segmenter.network.parameters())))
        inference = self.inference.model_copy(update={"precision": precision.removeprefix("torch.")})
        return self.model_copy(update={"inference": inference})


def predict_settings(**values: object) -> PredictSettings:
    """Validated settings.

    Raises:
        SettingError: A value of the wrong type or out of range; one line for the first of them.
    """
    return validated(PredictSettings, values)


def _digest(segmenter: Segmenter) -> str:
    """Equal where two runs used the same network with the same weights for the same classes."""
    described = segmenter.settings.network.model_dump(mode="json", exclude={"weights"})
    found = hashlib.sha256(json.dumps([described, list(segmenter.class_names)]).encode())
    for name, tensor in sorted(segmenter.network.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
