"""The stage "classify": what the classifier takes each picture for, where Top-1 and Top-5 localization are scored.

predicted/top_classes.csv has the columns image,labels: the five most probable classes, the best first. It is what
`advcam evaluate --top-classes` takes.
"""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from advcam.classifiers.classifier import Classifier
from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError, one_line
from advcam.pipeline.chain.localizing import deciding_model, load_model, mean_area
from advcam.pipeline.chain.pictures import Pictures
from advcam.pipeline.chain.settings import ChainSettings
from advcam.pipeline.chain.stage import PASS_PIXELS, Cost, Outcome, Stage, Watcher
from advcam.pipeline.class_match import ClassMatch
from advcam.pipeline.config import ModelSettings
from advcam.pipeline.flow import read_ahead
from advcam.store.files import write_text
from advcam.training.augment import RECIPES, Normalisation
from advcam.training.settings import ClassifierSettings
from advcam.types import Sample

NAME = "classify"
TABLE = "top_classes.csv"
#: Predicted classes that are kept; Top-5 is the most that localization asks for.
_RANKS = 5
_AHEAD = 8
#: Class numbers of the data set, the most probable first.
Ranking = Callable[[Image.Image], list[int]]


def classifying_stage(
    settings: ChainSettings, pictures: Pictures, model: ModelSettings, folder: Path, after: tuple[str, ...]
) -> Stage:
    """Predicted classes of the pictures that get masks.

    A classifier that was trained here sees them as its training measured it (WSOL: squeezed to 224 x 224), a given one
    as `advcam evaluate --model` shows them to it. It answers among the classes of the data set.
    """

    def work(watcher: Watcher) -> Outcome:
        ranking = _ranking(load_model(model), pictures.dataset.class_names, settings.train)
        return classify(ranking, pictures.masks, pictures.dataset.class_names, folder, watcher)

    def cost() -> Cost:
        return Cost(len(pictures.masks), len(pictures.masks) * mean_area(pictures.masks) / PASS_PIXELS)

    return Stage(NAME, folder, {"model": deciding_model(settings, model)}, after, work, cost)


def classify(
    ranking: Ranking, samples: Sequence[Sample], class_names: Sequence[str], folder: Path, watcher: Watcher
) -> Outcome:
    """Write the table; how often the true class is the first, and among the first five.

    Args:
        ranking: Of a picture.
        samples: The pictures.
        class_names: Of the data set.
        folder: Of the table.
        watcher: Hears of each picture.
    """
    watcher.start("predicted classes", len(samples))
    text, skipped, hits = io.StringIO(), [], []
    ks = [k for k in (1, _RANKS) if k <= len(class_names)]
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "labels"])
    for sample, picture in read_ahead(samples, lambda one: read_picture(one.path), _AHEAD):
        try:
            names = [class_names[number] for number in ranking(picture.result())]
        except PictureError as error:
            skipped.append((sample.id, one_line(error)))
        else:
            table.writerow([sample.id, ";".join(names)])
            hits.append([any(name in (sample.labels or ()) for name in names[:k]) for k in ks])
        watcher.step()
    write_text(folder / TABLE, text.getvalue())
    shares = np.mean(hits, axis=0).tolist() if hits else []
    among = f" among {len(class_names)} classes"
    facts = [(f"top-{k} accuracy", f"{share:.1%}{among}") for k, share in zip(ks, shares, strict=bool(hits))]
    return Outcome(facts, [], skipped)


def _ranking(classifier: Classifier, class_names: Sequence[str], trained: ClassifierSettings | None) -> Ranking:
    match = ClassMatch(classifier, class_names)
    if trained is None:
        return lambda picture: match.ranked(picture, _RANKS)
    recipe, normalise = RECIPES[trained.augmentation], Normalisation(classifier.mean, classifier.std)

    def ranked(picture: Image.Image) -> list[int]:
        inputs = recipe.evaluate(picture, trained.side, normalise)[None].to(classifier.device)
        with torch.no_grad(), classifier.frozen():
            return match.order(classifier.respond(inputs).scores[0], _RANKS)

    return ranked
