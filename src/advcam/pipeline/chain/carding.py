"""The model card of a chain's segmentation network, from what its stages left."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from advcam.pipeline.chain.pictures import Pictures
from advcam.pipeline.chain.settings import ChainSettings, SegmentSettings
from advcam.pipeline.chain.stage import StageRecord, picture_digest
from advcam.segment.card import CardData, CardFacts, CardScore, machine_of, versions, write_card
from advcam.segment.trained import FACTS_FILE
from advcam.store.run import JSON

#: Facts of the stage "segment" that the card repeats.
LEARNT_FROM, TRUE_MASKS, EPOCH = "learnt from", "true masks", "kept epoch"
#: Characters of a digest that tell two data sets apart.
_DIGITS = 16


def write_model_card(
    folder: Path,
    settings: ChainSettings,
    chosen: SegmentSettings,
    pictures: Pictures,
    record: StageRecord,
    evaluation: Mapping[str, Any] | None,
) -> None:
    """Write the card beside the weights.

    Args:
        folder: Of the trained network.
        settings: The recipe.
        chosen: Of the network.
        pictures: Of the chain.
        record: Of its training.
        evaluation: Of the test pictures, evaluation.json; None where there is no truth.

    Raises:
        RunError: It cannot be written.
    """
    facts, network = dict(record.facts), chosen.network
    trained = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    dataset, split = pictures.dataset, settings.data.masks_split
    digest = picture_digest(dataset, (pictures.masks,))[:_DIGITS]
    source = "at random" if network.weights == "random" else network.weights and network.weights.name
    card = CardFacts(
        title=f"{network.head} on {network.model}, {dataset.title}",
        class_names=tuple(trained["class_names"]),
        data=(CardData(dataset.root.name, dataset.layout, split, len(pictures.masks), digest),),
        supervision=facts[LEARNT_FROM],
        true_masks=int(facts[TRUE_MASKS]),
        label_masks=_label_masks(settings),
        best_epoch=_epoch(chosen),
        network={"head": network.head, "backbone": network.model, "output stride": network.stride},
        pretrained=source or f"those that come with {network.model} (ImageNet-1K)",
        settings=trained["settings"],
        scores=() if evaluation is None else _scores(evaluation, chosen),
        class_iou={} if evaluation is None else {row["name"]: row["iou"] for row in evaluation["classes"]},
        class_iou_of="" if evaluation is None else evaluation["split"],
        seconds=record.seconds,
        machine=machine_of(torch.device(settings.device)),
        versions=versions(),
    )
    write_card(folder, card)


def _label_masks(settings: ChainSettings) -> dict[str, JSON]:
    """How the masks came about: with this recipe, or before it."""
    if settings.label_masks is not None:
        return {"masks": Path(settings.label_masks).name}
    classifier = settings.model.model if settings.train is None else f"{settings.train.model}, trained on image labels"
    return {
        "classifier": classifier,
        "attribution": settings.localize.deciding(),
        "refinement": " then ".join(settings.refine.methods) or "none",
        "pseudo-labels": settings.pseudo.model_dump(mode="json", exclude_none=True),
    }


def _epoch(chosen: SegmentSettings) -> str:
    if chosen.validation is None:
        return "beforehand: the last one"
    return f"by its mIoU on the true masks of {chosen.validation}"


def _scores(evaluation: Mapping[str, Any], chosen: SegmentSettings) -> tuple[CardScore, ...]:
    """mIoU of the test pictures."""
    looks = chosen.inference
    scales = ", ".join(f"{scale:g}" for scale in looks.scales)
    protocol = f"scales {scales}{', flips' if looks.flip else ''}{', dense CRF' if looks.crf else ''}"
    seen = "none but what it learnt"
    if chosen.validation is not None:
        seen += f"; true masks of {chosen.validation} chose the epoch"
    own = [row for row in evaluation["rows"] if row["name"] == "predictions"]
    return tuple(
        CardScore(
            "mIoU",
            row["scores"]["miou"],
            evaluation["split"],
            evaluation["pictures"],
            protocol,
            seen,
            row["low"],
            row["high"],
        )
        for row in own
    )
