"""report.html of a chain, from what its stages left so far."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import advcam
from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError
from advcam.pipeline.chain.lesson import lowest_confidence
from advcam.pipeline.chain.pictures import Pictures, test_split
from advcam.pipeline.chain.scoring import HEADLINES, of_masks, shown_scores
from advcam.pipeline.chain.segment_stages import EVALUATE, PREDICT, TEST_METRICS
from advcam.pipeline.chain.settings import ChainSettings
from advcam.pipeline.chain.stage import StageRecord
from advcam.pipeline.label_masks import class_numbers
from advcam.pipeline.targets import evenly
from advcam.report.chain_page import ChainPicture, ScoreRow, ScoreTable, StageRow, write_chain_page
from advcam.store.maps import MapStore
from advcam.store.masks import read_mask
from advcam.store.run import output_names
from advcam.types import Attribution, Box, Sample

_TITLE, _GIVEN_MASKS = "From image labels to masks", "From masks to a segmentation network"


def write_chain_report(
    out: Path, settings: ChainSettings, pictures: Pictures, records: Sequence[StageRecord], maps: Mapping[str, Path]
) -> None:
    """Write the report.

    Args:
        out: The run directory.
        settings: The recipe.
        pictures: Of the chain.
        records: Of the stages that are done.
        maps: Folder of the map store of each done stage that left one.

    Raises:
        RunError: It cannot be written, or what a stage left is damaged.
    """
    dataset = pictures.dataset
    facts = [
        ("Data", f"{dataset.title} in {dataset.root.name}, split {settings.data.masks_split}"),
        ("Pictures", _counts(pictures, settings)),
        ("Classes", f"{len(dataset.class_names)}"),
        ("advcam", advcam.__version__),
    ]
    done = {record.name for record in records}
    rows = [StageRow(r.name, r.seconds, r.facts, r.notes, len(r.skipped)) for r in records]
    scores = _scores(out / "metrics") if "evaluate" in done else []
    if EVALUATE in done:
        split = test_split(dataset, pictures.data)
        scores += [ScoreTable(f"{table.title} of {split}", table.rows) for table in _scores(out / TEST_METRICS)]
    stores = {name: MapStore(folder) for name, folder in maps.items()}
    count = settings.outputs.report_pictures
    title = _TITLE if settings.label_masks is None else _GIVEN_MASKS
    shown = chain(
        _shown(out, pictures, stores, count, "pseudo" in done), _tested(out, pictures, count, PREDICT in done)
    )
    write_chain_page(out / "report.html", title, facts, rows, scores, shown)


def _counts(pictures: Pictures, settings: ChainSettings) -> str:
    """How many pictures do what."""
    uses = {
        "to learn": pictures.train,
        "to choose the epoch": pictures.val,
        "to choose the threshold": pictures.labelled,
        "to mask" if settings.label_masks is None else "with masks to learn": pictures.masks,
        "to test the segmentation network": pictures.test,
    }
    return ", ".join(f"{len(samples)} {use}" for use, samples in uses.items() if samples)


def _scores(folder: Path) -> list[ScoreTable]:
    """Scores of each stage, from the files of the evaluation, in their order; the headline first."""
    files = sorted(folder.glob("*/evaluation.json"), key=lambda path: path.stat().st_mtime_ns)
    results: list[tuple[str, dict[str, Any]]] = [(f.parent.name, json.loads(f.read_text("utf-8"))) for f in files]
    if not results:
        return []
    names = shown_scores(results[0][1]["headline"], results[0][1]["rows"][0]["scores"])
    return [ScoreTable(HEADLINES.get(n, n), [_row(stage, result, n) for stage, result in results]) for n in names]


def _row(stage: str, result: dict[str, Any], name: str) -> ScoreRow:
    own = [row for row in result["rows"] if row["name"] == "predictions"]
    masks = of_masks(result["predictions"])
    return ScoreRow(stage, {"masks" if masks else row["supervision"]: row["scores"][name] or 0.0 for row in own})


def _shown(
    out: Path, pictures: Pictures, stores: Mapping[str, MapStore], count: int, labelled: bool
) -> Iterator[ChainPicture]:
    """The most doubtful pictures first where there are pseudo-labels, half of the page; the others spread evenly."""
    if not stores:
        return
    stored = {stage: store.index() for stage, store in stores.items()}
    first = next(iter(stored.values()))
    there = [sample for sample in pictures.masks if sample.id in first]
    sure = lowest_confidence(out / "pseudo" / "confidence.csv") if labelled else {}
    class_names = {number + 1: name for number, name in enumerate(pictures.dataset.class_names)}
    class_names |= class_numbers(out / "pseudo") if labelled else {}
    found = _boxes(out / "pseudo" / "boxes.json", class_names) if labelled else {}
    doubtful = sorted((s for s in there if s.id in sure), key=lambda sample: sure[sample.id])[: count // 2]
    names = output_names([sample.id for sample in pictures.masks])
    for sample in (*doubtful, *evenly([s for s in there if s not in doubtful], count - len(doubtful))):
        try:
            picture = read_picture(sample.path)
        except PictureError:  # broken since its maps were made; the stage that met it says so
            continue
        truth, mask_file = pictures.dataset.mask(sample.id), out / "pseudo" / "masks" / f"{names[sample.id]}.png"
        yield ChainPicture(
            sample.id,
            picture,
            sample.labels or (),
            {stage: _maps(store, sample) for stage, store in stores.items() if sample.id in stored[stage]},
            read_mask(mask_file) if labelled and mask_file.exists() else None,
            truth,
            class_names,
            sure.get(sample.id),
            found.get(sample.id, ()),
            (pictures.dataset.boxes(sample.id) or ()) if truth is None else (),
        )


def _tested(out: Path, pictures: Pictures, count: int, predicted: bool) -> Iterator[ChainPicture]:
    """Pictures that the segmentation network was shown, evenly spread, half as many as of the others."""
    if not predicted:
        return
    names = output_names([sample.id for sample in pictures.test])
    class_names = class_numbers(out / "predictions")
    for sample in evenly(pictures.test, max(1, count // 2) if count else 0):
        file = out / "predictions" / "masks" / f"{names[sample.id]}.png"
        if file.exists():
            truth, labels = pictures.dataset.mask(sample.id), sample.labels or ()
            picture = read_picture(sample.path)
            yield ChainPicture(
                sample.id, picture, labels, {}, None, truth, class_names, None, predicted=read_mask(file)
            )


def _maps(store: MapStore, sample: Sample) -> Attribution:
    return store.get(sample.id).attribution


def _boxes(path: Path, class_names: Mapping[int, str]) -> dict[str, list[Box]]:
    """The boxes of the pseudo-labels of each picture, their classes numbered as those of the masks (less one)."""
    pictures = json.loads(path.read_text(encoding="utf-8"))["pictures"]
    numbers = {name: number for number, name in class_names.items()}
    corners = ("x0", "y0", "x1", "y1", "score")
    return {
        id_: [Box(numbers[box["class"]] - 1, *(box[name] for name in corners)) for box in entry["boxes"]]
        for id_, entry in pictures.items()
    }
