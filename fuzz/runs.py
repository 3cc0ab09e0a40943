"""Runs as the studio, the reports and the exports look at them, one of their files changed; and evaluations."""

import json
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import numpy as np
import yaml  # type: ignore[import-untyped]
from PIL import Image

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import AdvcamError
from advcam.pipeline.album import open_album
from advcam.pipeline.chain.recipe_file import RECIPE, find_recipe
from advcam.pipeline.config import SETTINGS, LocalizeSettings, keep_settings
from advcam.pipeline.evaluation.stored import read_evaluation
from advcam.pipeline.predicting.settings import PredictSettings
from advcam.pipeline.recipe import load_yaml
from advcam.pseudo.objects import mask_instances
from advcam.store.classes import ClassNumbers
from advcam.store.corrections import Corrections
from advcam.store.masks import run_lengths, write_mask
from advcam.studio.access import Access, App
from advcam.studio.app import create_app
from advcam.studio.listing import ORDERS, Listing
from advcam.studio.remembered import Remembered
from advcam.studio.shelf import Shelf
from advcam.studio.studio import Studio
from advcam.types import Mask
from fuzz.browser import ask
from fuzz.mutation import of_json, of_json_lines, of_png, of_text, of_yaml
from fuzz.shards import of_parquet
from fuzz.target import Mutate, Target, check_words, file_reader

CLASSES = ("cat", "dog")
_SIZE = (20, 24)
_INDEX = "studio/index.parquet"
_EVALUATION = {
    "task": "segmentation",
    "headline": "miou",
    "dataset": "A",
    "layout": "voc2012",
    "split": "val",
    "predictions": "masks",
    "pictures": 2,
    "rows": [
        {
            "name": "predictions",
            "supervision": "",
            "detail": "",
            "threshold": 0.5,
            "scores": {"miou": 0.5},
            "low": 0.4,
            "high": None,
        }
    ],
    "thresholds": [0.1, 0.2],
    "curves": {"miou": [0.5, None]},
    "classes": [{"name": "cat", "iou": 0.5}, {"name": "dog", "iou": None}],
    "confusion": [[0, 1, 9]],
    "picture_scores": {"a.png": 0.5},
    "notes": ["n"],
}


def write_prediction(folder: Path) -> Path:
    """A run of `advcam predict` on two pictures beside it, in two folders; the run."""
    photographs, run = folder / "photographs", folder / "run"
    entries = {}
    for number, name in enumerate(("a.png", "b/c.png")):
        path = photographs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*_SIZE, 3), 90 * number, dtype=np.uint8)).save(path)
        write_mask(run / "masks" / name, _mask(number))
        entries[name] = {"classes": [{"class": CLASSES[number], "confidence": 0.5 + number / 4}]}
    (run / "predictions.json").write_text(json.dumps({"pictures": entries}))
    ClassNumbers(run / "classes.json", CLASSES).extend([0, 1])
    keep_settings(run, PredictSettings(inputs=(str(photographs),), segmenter=Path("net"), out=run))
    return run


def _write_localization(folder: Path) -> Path:
    """The same, as a run of `advcam localize` without maps."""
    run = write_prediction(folder)
    keep_settings(run, LocalizeSettings(inputs=(str(folder / "photographs"),), labels="folders", out=run))
    return run


def _write_chain(folder: Path) -> Path:
    """A run of `advcam run` that has labelled drawn pictures."""
    root, run = folder / "drawn", folder / "run"
    write_dataset("folders", root, pictures=2)
    (run / "stages").mkdir(parents=True)
    recipe = load_yaml(find_recipe("folder"))
    recipe.setdefault("data", {})["root"] = str(root)
    (run / RECIPE).write_text(yaml.safe_dump(recipe))
    album, pictures = open_album(run), {}
    names = [name for _, name in sorted(album.classes.items())]
    for sample in album.samples:
        with Image.open(sample.path) as picture:
            mask = np.ones(picture.size[::-1], dtype=np.int32)
        write_mask(run / "pseudo/masks" / f"{album.names[sample.id]}.png", mask)
        pictures[sample.id] = [
            {"class": names[one.class_id], "score": one.score, "segmentation": run_lengths(one.mask)}
            for one in mask_instances(mask)
        ]
    ClassNumbers(run / "pseudo/classes.json", names).extend(range(len(names)))
    (run / "pseudo/instances.json").write_text(json.dumps({"pictures": pictures}))
    rows = [f"{id_},{names[0]},0.5\n" for id_ in pictures]
    (run / "pseudo/confidence.csv").write_text("image,class,confidence\n" + "".join(rows))
    record = {"name": "pseudo", "fingerprint": "ab", "done": True, "seconds": 1.5, "facts": [["threshold", "0.4"]]}
    (run / "stages/pseudo.json").write_text(json.dumps(record | {"notes": [], "skipped": []}))
    return run


def _mask(number: int) -> Mask:
    """A rectangle with undecided pixels above it."""
    mask = np.zeros(_SIZE, dtype=np.int32)
    mask[4:14, 5:19] = number + 1
    mask[4] = 255
    return mask


def _looked_at(write: Callable[[Path], Path], name: str) -> Callable[[Path], Callable[[bytes], object]]:
    """`prepare` for a file of a run: everything is looked at as the studio does."""

    def prepare(folder: Path) -> Callable[[bytes], object]:
        run = write(folder)
        studio = Studio(lambda: open_album(run))
        app = create_app(studio, Access())  # takes longer than what it is asked
        deep = folder / "from/here"  # where names such as ".." of a changed file lead
        deep.mkdir(parents=True)
        (run / name).parent.mkdir(exist_ok=True)

        def of(content: bytes) -> None:
            (run / name).write_bytes(content)
            with chdir(deep):
                remembered = Remembered(run / _INDEX)
                remembered.load()
                studio.shelf = Shelf(lambda: open_album(run))
                studio.listing = Listing(studio.shelf, remembered)
                _look(studio, app)

        return of

    return prepare


def _look(studio: Studio, app: App) -> None:
    """Everything that a page shows of a run, and what exports take."""
    places = range(min(studio.listing.total, 2))
    for place in places:
        studio.listing.refresh(place)
    ask(app, "/api/run")
    for order in ORDERS:
        ask(app, "/api/pictures", query=f"sort={order}")
    for place in places:
        for what in ("", "/thumbnail", "/masks/final"):
            ask(app, f"/api/pictures/{place}{what}")
        try:
            studio.album.annotated(studio.id_of(place))
        except AdvcamError as error:
            check_words(str(error))


def _run_target(name: str, write: Callable[[Path], Path], file: str, mutate: Mutate) -> Target:
    return Target(name, _looked_at(write, file), lambda folder: [(write(folder) / file).read_bytes()], mutate)


def _read_reviews(path: Path) -> None:
    """Everything that is known of the pictures, and a change of one."""
    corrections = Corrections(path.parents[1])
    for id_ in [*corrections.reviews(), "a.png"]:
        try:
            corrections.mask(id_)
        except AdvcamError as error:
            check_words(str(error))
    corrections.masks()
    review = corrections.review("a.png")
    assert corrections.set_status("a.png", "rejected", review.revision).status == "rejected"  # noqa: S101, a finding


def _review_reader(folder: Path) -> Callable[[bytes], object]:
    (folder / "corrected").mkdir()
    return file_reader("corrected/reviews.jsonl", _read_reviews)(folder)


def _write_reviewed(folder: Path) -> Path:
    """A prediction with a corrected mask, and a verdict on the other one."""
    run = write_prediction(folder)
    corrections = Corrections(run)
    corrections.save_mask("a.png", "a", _mask(0), 0)
    corrections.set_status("b/c.png", "accepted", 0)
    corrections.set_status("a.png", "rejected", 1)
    return run


def _index(folder: Path) -> list[bytes]:
    """What a studio remembers of a run."""
    run = write_prediction(folder)
    listing = Studio(lambda: open_album(run)).listing
    for place in range(listing.total):
        listing.refresh(place)
    path = folder / "index.parquet"
    Remembered(path).keep((sample.id, listing.row(place)) for place, sample in enumerate(open_album(run).samples))
    return [path.read_bytes()]


TARGETS = (
    Target(
        "reviews",
        _review_reader,
        lambda folder: [(_write_reviewed(folder) / "corrected/reviews.jsonl").read_bytes()],
        of_json_lines,
    ),
    Target(
        "evaluation",
        file_reader("evaluation.json", read_evaluation),
        lambda _: [json.dumps(_EVALUATION).encode()],
        of_json,
    ),
    _run_target("predict-settings", write_prediction, SETTINGS, of_json),
    _run_target("predictions", write_prediction, "predictions.json", of_json),
    _run_target("run-classes", write_prediction, "classes.json", of_json),
    _run_target("run-mask", write_prediction, "masks/a.png", of_png),
    _run_target("run-reviews", _write_reviewed, "corrected/reviews.jsonl", of_json_lines),
    _run_target("localize-settings", _write_localization, SETTINGS, of_json),
    _run_target("chain-recipe", _write_chain, RECIPE, of_yaml),
    _run_target("chain-record", _write_chain, "stages/pseudo.json", of_json),
    _run_target("chain-classes", _write_chain, "pseudo/classes.json", of_json),
    _run_target("chain-objects", _write_chain, "pseudo/instances.json", of_json),
    _run_target("chain-confidence", _write_chain, "pseudo/confidence.csv", of_text),
    Target("studio-index", _looked_at(write_prediction, _INDEX), _index, of_parquet),
)
