"""What the stages of the segmentation network do: train it, label pictures anew, predict, write ONNX."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError, SettingError, counted
from advcam.pipeline.chain.carding import EPOCH, LEARNT_FROM, TRUE_MASKS
from advcam.pipeline.chain.filing import write_files
from advcam.pipeline.chain.lesson import Lesson
from advcam.pipeline.chain.masking import MaskTask
from advcam.pipeline.chain.processes import by_main
from advcam.pipeline.chain.settings import SegmentSettings
from advcam.pipeline.chain.stage import Outcome, Watcher
from advcam.pipeline.chain.training import LoopWatch
from advcam.pipeline.label_masks import ByHandFirst, TrueMasks, WrittenMasks, with_truth
from advcam.pipeline.shards import Engine
from advcam.pipeline.targets import samples_of
from advcam.segment.export import export_onnx
from advcam.segment.segmenter import Masked, TrainedSegmenter, train_segmenter
from advcam.segment.trained import Segmenter, load_segmenter
from advcam.store.classes import ClassNumbers
from advcam.store.run import output_names
from advcam.types import IGNORE, Sample


def write_onnx(segmenter: Segmenter, samples: Sequence[Sample], path: Path, watcher: Watcher) -> Outcome:
    """Write a network as ONNX, compared with PyTorch on some pictures."""
    watcher.start("export", len(samples))

    def pictures() -> Iterator[Image.Image]:
        for sample in samples:
            with suppress(PictureError):  # named when it was predicted
                yield read_picture(sample.path).convert("RGB")
            watcher.step()

    written = export_onnx(segmenter.network, segmenter.class_names, path, pictures=pictures())
    compared = written.given or written.drawn
    same = f"{100 * compared.equal_labels:.3f} % on {counted(compared.pictures, 'picture')}"
    size = "any" if written.fixed_size is None else "{1} x {0} only".format(*written.fixed_size)
    facts = [("opset", f"{written.opset}"), ("size of pictures", size), ("labels as of PyTorch", same)]
    notes = [written.why_fixed] if written.why_fixed else []
    return Outcome([*facts, ("largest difference", f"{compared.largest_difference:.1e}")], notes)


def segment(
    settings: SegmentSettings,
    taught: Lesson,
    names: Sequence[str],
    dataset: Dataset,
    folder: Path,
    device: str,
    watcher: Watcher,
    engine: Engine,
) -> Outcome:
    """Train the network, after the rounds of self-training if there are any; each goes on where it stopped."""
    masked, val = taught.masked, None
    if settings.validation is not None:
        held_out = with_truth(dataset, samples_of(dataset, settings.validation, dataset.root))
        if not held_out:
            raise SettingError(f"segment.validation is {settings.validation}, which has no true masks; leave it away")
        val = Masked(held_out, TrueMasks(dataset))

    def trained(where: Path, what: str) -> TrainedSegmenter:
        return train_segmenter(
            masked,
            names,
            settings.training,
            where,
            weak=taught.weak,
            val=val,
            progress=LoopWatch(watcher, what),
            device=device,
        )

    unreadable: dict[str, str] = {}
    for number in range(1, settings.self_training + 1):
        where = folder / f"round-{number}"
        unreadable |= trained(where, f"segment, round {number}: ").unreadable
        masked = relabelled(where, device, masked, settings, watcher, engine)
    result = trained(folder, "segment: ")
    unreadable |= result.unreadable
    return Outcome(_facts(result, settings, taught), result.warnings, tuple(unreadable.items()))


def relabelled(
    round_: Path, device: str, masked: Masked, settings: SegmentSettings, watcher: Watcher, engine: Engine
) -> Masked:
    """What the network of a round says of the pictures that it learnt, each limited to the classes of its image labels.

    Masks that a person drew stay. Pixels that the network is less sure of than `self_confidence` stay undecided. Of
    several processes one looks.
    """
    names = output_names([sample.id for sample in masked.samples])
    files = {id_: round_ / "masks" / f"{name}.png" for id_, name in names.items()}
    task = MaskTask(round_, device, settings.inference, limited=True, least=settings.self_confidence)

    def look() -> None:  # training named what cannot be read
        write_files(task, masked.samples, files, engine, watcher, "segment: labels anew")

    by_main(look)
    there = [sample for sample in masked.samples if files[sample.id].exists()]
    own, anew = masked.mask_of, WrittenMasks(files, np.arange(IGNORE + 1, dtype=np.int32))
    written = own.written if isinstance(own, ByHandFirst) else own
    if isinstance(written, WrittenMasks) and written.by_hand:
        return replace(masked, samples=there, mask_of=ByHandFirst(written, anew))
    return replace(masked, samples=there, mask_of=anew)


def predict_all(
    segmenter: Path,
    device: str,
    samples: Sequence[Sample],
    settings: SegmentSettings,
    limited: bool,
    folder: Path,
    watcher: Watcher,
    engine: Engine,
) -> Outcome:
    """Masks of pictures, each written when it is done.

    Args:
        segmenter: Folder of the network.
        device: Where it works.
        samples: The pictures.
        settings: How they are looked at.
        limited: Each picture shows the classes of its image labels alone.
        folder: Of `masks/` and `classes.json`.
        watcher: Hears of each picture.
        engine: Brings the work to processes.
    """
    class_names = load_segmenter(segmenter).class_names
    ClassNumbers(folder / "classes.json", class_names).extend(range(len(class_names)))
    files = {id_: folder / "masks" / f"{name}.png" for id_, name in output_names([s.id for s in samples]).items()}
    task = MaskTask(segmenter, device, settings.inference, limited)
    skipped = write_files(task, samples, files, engine, watcher, "predict")
    how = "classes of each picture's image labels" if limited else "all classes"
    return Outcome([("masks", f"{len(samples) - len(skipped)}"), ("possible", how)], (), skipped)


def _facts(result: TrainedSegmenter, settings: SegmentSettings, taught: Lesson) -> list[tuple[str, str]]:
    training, network = result.training, settings.network
    method = f", {settings.semi.method}" if settings.semi is not None else ""
    epoch = f"{training.best_epoch} of {training.epoch}"
    chosen = f" (by the true masks of {settings.validation})" if settings.validation else ""
    rounds = [("self-training", counted(settings.self_training, "round"))] if settings.self_training else []
    return [
        ("network", f"{network.head} on {network.model}, {len(result.class_names)} classes"),
        (LEARNT_FROM, taught.supervision + method),
        (TRUE_MASKS, f"{taught.true_masks}"),
        *rounds,
        ("steps", f"{training.step:,}"),
        ("loss", f"{training.history[-1]['training_loss'] or 0.0:.4f}"),
        (EPOCH, epoch + chosen),
    ]
