"""Pictures scored in shards, by the processes of an engine: each hands back a part of what is found, and parts add up.

The parts are sums of integers and lists in the order of the pictures. So the whole is the same to the last digit,
whichever process scored a shard, and however many pictures a shard has.

What the process that adds them up holds, for 50,000 pictures of PASCAL VOC (benchmarks/evaluate_memory.py, on the first
24 pictures of val that have a class of ImageNet): seeds 6.2 kB a picture and 0.63 GB at most while the table is made,
boxes 2.1 kB and 0.70 GB, finished masks 0.06 kB and 0.07 GB besides the scores by id, PxAP nothing but ids. On their
way, packed, they are 3.0, 0.3, 0.04 and 0.3 kB. Faithfulness keeps twelve numbers for each map.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from advcam.classifiers.catalogue import load_classifier
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.errors import AdvcamError, RunError, SettingError
from advcam.pipeline.attempt import Attempt
from advcam.pipeline.class_match import ClassMatch, read_groups
from advcam.pipeline.evaluation.predictions import Predictions, open_predictions
from advcam.pipeline.evaluation.result import EvaluateSettings, Pair, Watcher
from advcam.pipeline.shards import SHARD_PICTURES, Engine, Shard, ShardResult, Told, Unheard, in_order


@dataclass(frozen=True)
class Inputs:
    """What is scored, opened.

    Args:
        settings: That name it.
        dataset: With the truth.
        predictions: Of its pictures.
    """

    settings: EvaluateSettings
    dataset: Dataset
    predictions: Predictions


def open_inputs(settings: EvaluateSettings) -> Inputs:
    """Open data set and predictions.

    Raises:
        AdvcamError: One of them cannot be used, or there is no such split.
    """
    dataset = open_dataset(settings.data, settings.layout)
    dataset.check_split(settings.split)
    groups = read_groups(settings.groups) if settings.groups else None
    return Inputs(settings, dataset, open_predictions(settings.predictions, dataset, groups))


def class_match(inputs: Inputs) -> ClassMatch:
    """The classifier that the settings name, in this process, read as the classes of the data set.

    Raises:
        SettingError: They name none.
        AdvcamError: It cannot be loaded, or the groups do not fit.
    """
    settings = inputs.settings
    if settings.model is None:
        raise SettingError(f"{settings.protocol} asks the classifier: name it with --model (and --weights)")
    classifier = load_classifier(settings.model.model, **settings.model.model_dump(exclude={"model"}))
    groups = read_groups(settings.groups) if settings.groups else None
    return ClassMatch(classifier, inputs.dataset.class_names, groups)


class Part(Protocol):
    """What was found in some consecutive pictures of the list."""

    def __add__(self, other: Self, /) -> Self:
        """What was found in these and in the pictures behind them; the grouping of a sum does not matter."""


P = TypeVar("P", bound=Part)


class Scorer(Protocol[P]):
    """Scores the pictures of a protocol, one after the other."""

    def part(self) -> P:
        """What is found in no picture."""

    def add(self, part: P, pair: Pair, place: int) -> None:
        """Score a picture.

        Args:
            part: Takes in what is found.
            pair: The picture and the name of its prediction.
            place: Of the picture in the list, from 0.

        Raises:
            AdvcamError: Truth, picture or prediction cannot be used; the message names the picture.
        """


class ScoreTask(Generic[P]):
    """A protocol as it is sent to a process; `Shard.given` are the pairs.

    Args:
        inputs: What is scored; another process opens its own.
        scorer: Makes what scores, from the inputs; a class, since it is sent by its name.
    """

    def __init__(self, inputs: Inputs, scorer: Callable[[Inputs], Scorer[P]]) -> None:
        self.settings, self.scorer = inputs.settings, scorer
        self.inputs: Inputs | None = inputs

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "scorer": self.scorer, "inputs": None}

    def load(self) -> "ShardScorer[P]":
        """See `ShardTask.load`."""
        return ShardScorer(self.scorer(self.inputs or open_inputs(self.settings)))


class ShardScorer(Generic[P]):
    """Scores the pictures of shards; the answer of each is its part, or the error that ends the command.

    Args:
        scorer: Of the protocol.
    """

    def __init__(self, scorer: Scorer[P]) -> None:
        self.scorer = scorer

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        """See `ShardTask`."""
        part, attempt = self.scorer.part(), Attempt(shard, told)
        for place, pair in enumerate(cast(Sequence[Pair], shard.given), shard.first):
            attempt.begins(pair.sample.id)
            try:
                self.scorer.add(part, pair, place)
            except AdvcamError as error:
                return attempt.result(error)
            attempt.done(pair.sample.id)
        return attempt.result(part)


@dataclass(frozen=True)
class Scoring:
    """An evaluation that is being made.

    Args:
        inputs: What is scored.
        pairs: The pictures in their order, at least one.
        watcher: Hears of each.
        engine: Brings shards of them to processes.
    """

    inputs: Inputs
    pairs: Sequence[Pair]
    watcher: Watcher
    engine: Engine

    def run(self, words: str, scorer: Callable[[Inputs], Scorer[P]]) -> P:
        """Score all pictures.

        Args:
            words: What is scored.
            scorer: See `ScoreTask`.

        Returns:
            What was found in them.

        Raises:
            AdvcamError: Of the first picture in the list that cannot be scored.
            RunError: A process could not load what it needs, or died at a picture again and again.
        """
        self.watcher.start(words, len(self.pairs))
        shards = list(_shards(self.pairs))
        results = self.engine.map(ScoreTask(self.inputs, scorer), shards, _Steps(self.watcher))
        return added_up(cast(P, _answer(result)) for result in in_order(results, shards))


def added_up(parts: Iterable[P]) -> P:
    """The sum of parts in their order.

    Neighbours are added where they are sums of as many parts, so that no row is copied more often than the logarithm of
    the number of parts.

    Args:
        parts: At least one.
    """
    sums: list[tuple[int, P]] = []
    for part in parts:
        count, total = 1, part
        while sums and sums[-1][0] == count:
            count, total = 2 * count, sums.pop()[1] + total
        sums.append((count, total))
    _, total = sums.pop()
    while sums:
        total = sums.pop()[1] + total
    return total


class _Steps(Unheard):
    """Tells a watcher of each picture that is scored."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    def picture_done(self, name: str) -> None:
        """One step."""
        self.watcher.step()


def _shards(pairs: Sequence[Pair]) -> Iterator[Shard]:
    for first in range(0, len(pairs), SHARD_PICTURES):
        given = tuple(pairs[first : first + SHARD_PICTURES])
        yield Shard(first, first + len(given) - 1, tuple(pair.sample for pair in given), given)


def _answer(result: ShardResult) -> Any:  # noqa: ANN401, the part of any protocol
    """The part of a shard.

    Raises:
        AdvcamError: A picture cannot be scored, or the shard.
    """
    if isinstance(result.answer, AdvcamError):
        raise result.answer
    if result.failed:
        raise RunError(f"pictures {result.first + 1} to {result.last + 1} could not be scored: {result.failed}")
    if result.skipped:  # a score without it would be another one
        id_, reason = result.skipped[0]
        raise RunError(f"{id_} could not be scored: {reason}")
    return result.answer
