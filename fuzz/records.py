"""JSON that runs leave behind: settings, class numbers, groups, records of stages, pictures and trials."""

import json
from collections.abc import Callable
from pathlib import Path

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.voc import VOC2012, VOC_CLASSES
from advcam.errors import AdvcamError
from advcam.pipeline.chain.labelling import names_of_run
from advcam.pipeline.chain.stage import read_record
from advcam.pipeline.chain.thresholding import read_threshold
from advcam.pipeline.class_match import read_groups
from advcam.pipeline.evaluation.predictions import MaskFiles
from advcam.pipeline.label_masks import class_numbers, written_masks
from advcam.pipeline.tuning.search import TrialLog
from advcam.segment.trained import load_segmenter
from advcam.store.classes import ClassNumbers
from advcam.store.records import RecordFile
from advcam.store.run import JSON, RunDirectory
from advcam.training.classifier import load_trained
from fuzz.mutation import of_json, of_json_lines
from fuzz.target import Target, check_words, file_reader

_SETTINGS: dict[str, dict[str, JSON]] = {"maps": {"method": "cam", "scales": [1.0]}, "outputs": {"threshold": 0.3}}
_GROUPS = [b'{"cat": [281, 282, "Persian cat"], "dog": [151]}']
_STAGE = (
    b'{"name": "train", "fingerprint": "ab", "done": true, "seconds": 1.5, "facts": [["a", "b"]], "notes": ["n"], '
    b'"skipped": []}'
)
_TRIAL = {
    "number": 0,
    "constants": {"iterations": 3},
    "state": "complete",
    "value": 0.5,
    "rungs": {"2": 0.4},
    "passes": 9.0,
}
_CLASSIFIER = [b'{"advcam_classifier": 1, "model": "lite0", "output_stride": 16, "multi_label": true}']
_SEGMENTER = [b'{"advcam_segmenter": 1, "settings": {}, "class_names": ["cat", "dog"]}']


def _class_files(folder: Path) -> list[bytes]:
    numbers = ClassNumbers(folder / "classes.json", VOC_CLASSES)
    numbers.extend([0])
    many = ClassNumbers(folder / "many.json", [f"class {number}" for number in range(300)])
    many.extend([7, 299])
    return [(folder / "classes.json").read_bytes(), (folder / "many.json").read_bytes()]


def _class_readers(folder: Path) -> Callable[[bytes], object]:
    """Every reader of a run's classes.json, each whatever the others say."""
    write_dataset("voc2012", folder / "voc", pictures=2)
    dataset, path = VOC2012(folder / "voc"), folder / "run/classes.json"
    samples = list(dataset.samples("train"))
    masks = folder / "run/masks"
    masks.mkdir(parents=True)
    for sample in samples:
        mask = dataset.root / f"SegmentationClass/{sample.id}.png"
        (masks / mask.name).write_bytes(mask.read_bytes())
    readers: list[Callable[[], object]] = [
        lambda: class_numbers(path.parent),
        lambda: names_of_run(path.parent),
        lambda: ClassNumbers(path, [str(number) for number in range(300)]).extend([5]),
        lambda: [MaskFiles(masks, dataset).mask(sample.id, sample) for sample in samples],
        lambda: [written_masks(path.parent, dataset, samples, dataset.class_names)(sample) for sample in samples],
    ]

    def of(content: bytes) -> None:
        refused = None
        for read in readers:
            path.write_bytes(content)
            try:
                read()
            except AdvcamError as error:
                check_words(str(error))
                refused = error
        if refused:
            raise refused

    return of


def _open_run(path: Path) -> None:
    with RunDirectory.open(path.parent, _SETTINGS):
        pass


def _run_settings(folder: Path) -> list[bytes]:
    with RunDirectory.open(folder, _SETTINGS):
        return [(folder / "config.json").read_bytes()]


def _read_records(path: Path) -> None:
    with RecordFile(path) as records:
        records.find("unit", "a.jpg", "digest")
        records.add("unit", "b.jpg", "digest", {"value": 1})


def _records(folder: Path) -> list[bytes]:
    with RecordFile(folder / "records.jsonl") as records:
        records.add("unit", "a.jpg", "digest", {"value": 0.5})
        records.add("unit", "c.jpg", "digest", {"value": [1, None]})
    return [(folder / "records.jsonl").read_bytes()]


TARGETS = (
    Target("classes-json", _class_readers, _class_files, of_json),
    Target("groups", file_reader("groups.json", read_groups), lambda _: _GROUPS, of_json),
    Target("run-settings", file_reader("config.json", _open_run), _run_settings, of_json),
    Target("stage-record", file_reader("train.json", read_record), lambda _: [_STAGE], of_json),
    Target("record-lines", file_reader("records.jsonl", _read_records), _records, of_json_lines),
    Target(
        "trials",
        file_reader("trials.jsonl", lambda path: TrialLog(path).read()),
        lambda _: [json.dumps(_TRIAL).encode() + b"\n"],
        of_json_lines,
    ),
    Target(
        "threshold",
        file_reader("threshold.json", lambda path: read_threshold(path.parent)),
        lambda _: [b'{"threshold": 0.3}'],
        of_json,
    ),
    Target(
        "trained-classifier",
        file_reader("classifier.json", lambda path: load_trained(path.parent)),
        lambda _: _CLASSIFIER,
        of_json,
    ),
    Target(
        "trained-segmenter",
        file_reader("segmenter.json", lambda path: load_segmenter(path.parent)),
        lambda _: _SEGMENTER,
        of_json,
    ),
)
