"""Runs side by side: what was asked of them, what they scored, where their masks disagree, what they took.

Differences are given only where the same pictures were scored: the ids of the pictures are compared, not their number.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from advcam.errors import SettingError, counted
from advcam.pipeline.album.album import Album
from advcam.pipeline.album.chain_run import ChainAlbum
from advcam.pipeline.album.opening import open_album
from advcam.pipeline.album.runs import LocalizeAlbum, PredictAlbum
from advcam.pipeline.evaluation.result import Evaluation, Row
from advcam.pipeline.reporting.chain import ChainReport
from advcam.pipeline.reporting.localization import stored_scores
from advcam.pipeline.reporting.making import flat, version_of
from advcam.pipeline.reporting.mask_differences import MaskDifferences
from advcam.pipeline.reporting.scores import Scored, kind_of, own_rows, score_name
from advcam.pipeline.reporting.summary import read_summary
from advcam.report.compare_page import ComparedRun, ComparedScore, ComparedValue, Comparison, write_compare_page
from advcam.store.places import Place

_KINDS = {"chain": "advcam run", "localize": "advcam localize", "predict": "advcam predict"}
#: Settings that say where a run lies, not what it is.
_APART = ("out",)
_NONE = "–"


@dataclass(frozen=True)
class OpenedRun:
    """A run that is compared.

    Args:
        name: No other run's.
        album: What lies in it.
        settings: Every setting by its dotted name.
        scored: Its evaluations.
        seconds: Of each stage.
        notes: What is wrong with it.
    """

    name: str
    album: Album
    settings: dict[str, str]
    scored: Sequence[Scored]
    seconds: dict[str, float]
    notes: Sequence[str] = field(default_factory=list)

    @property
    def results(self) -> dict[tuple[str, str], Evaluation]:
        """The evaluations by stage and split."""
        return {(stage, group.title): result for group in self.scored for stage, result in group.results.items()}


def compare(runs: Sequence[Path], out: Place, pictures: int) -> int:
    """Write the page of a comparison.

    Args:
        runs: Folders of two runs or more; the others are compared with the first.
        out: Of the file.
        pictures: Most pictures that are shown.

    Returns:
        How many pictures all the runs have.

    Raises:
        SettingError: Fewer than two runs, one twice, or a folder that holds none.
        RunError: A run is damaged, or the file cannot be written.
        AdvcamError: The pictures of a run are not there.
    """
    if len(runs) < 2:
        raise SettingError("a comparison takes two runs or more: advcam compare RUN RUN --out compared.html")
    if len({run.resolve() for run in runs}) < len(runs):
        raise SettingError("one run is named twice; name each once")
    opened = [_opened(name, run) for name, run in zip(_names(runs), runs, strict=True)]
    masks = MaskDifferences([run.album for run in opened], [run.name for run in opened])
    found = Comparison(
        [ComparedRun(run.name, str(run.album.folder), _facts(run)) for run in opened],
        [*_of_kinds(opened), *(f"{run.name}: {note}" for run in opened for note in run.notes)],
        list(_settings(opened)),
        list(_scores(opened)),
        list(_pairs(opened)),
        masks.in_words(),
        list(_seconds(opened)),
    )
    write_compare_page(out, found, masks.shown(pictures))
    return len(masks.common)


def _of_kinds(runs: Sequence[OpenedRun]) -> list[str]:
    if len({run.album.kind for run in runs}) == 1:
        return []
    return ["The runs are of different kinds: of their settings those are compared that two of them have."]


def _names(runs: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the runs apart."""
    parts = [run.resolve().parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(run) for run in runs]


def _opened(name: str, run: Path) -> OpenedRun:
    album = open_album(run)
    if isinstance(album, ChainAlbum):
        report = ChainReport(album)
        seconds = {record.name: record.seconds for record in report.records}
        return OpenedRun(name, album, flat(album.settings), report.scored, seconds, report.notes)
    if not isinstance(album, LocalizeAlbum | PredictAlbum):
        raise SettingError(f"{run} is no run of advcam; name the --out of advcam run, localize or predict")
    summary = read_summary(run)
    scored, broken = stored_scores(album) if isinstance(album, LocalizeAlbum) else (Scored("", {}), [])
    seconds = {album.kind: summary.seconds} if summary.seconds else {}
    return OpenedRun(name, album, flat(album.settings), [scored], seconds, [*broken, *summary.missing, *summary.notes])


def _facts(run: OpenedRun) -> dict[str, str]:
    looked = [review for review in run.album.corrections.reviews().values() if review.status != "open"]
    by_people = {"looked at by people": counted(len(looked), "picture")} if looked else {}
    pictures = counted(len(run.album.samples), "picture")
    return (
        {"made by": _KINDS.get(run.album.kind, run.album.kind), "pictures": pictures}
        | by_people
        | {"advcam": version_of(run.album.folder) or _NONE}
    )


def _settings(runs: Sequence[OpenedRun]) -> Iterator[tuple[str, list[str]]]:
    """The settings that are not the same in all runs that have them.

    A section that one run has and another has not is one line, not all of its settings.
    """
    for name in dict.fromkeys(name for run in runs for name in run.settings):
        values = [run.settings.get(name, _given(run, name)) for run in runs]
        if name not in _APART and len(set(values) - {_NONE}) > 1:
            yield name, values


def _given(run: OpenedRun, name: str) -> str:
    """What stands for a setting that a run has not: whether it is a section of it."""
    return "given" if any(other.startswith(f"{name}.") for other in run.settings) else _NONE


def _scores(runs: Sequence[OpenedRun]) -> Iterator[ComparedScore]:
    """The headline of each stage at each kind of threshold, in the order in which the first run has them."""
    rows = [dict(_own(run)) for run in runs]
    for stage, split, kind in dict.fromkeys(key for found in rows for key in found):
        here = [found.get((stage, split, kind)) for found in rows]
        results = [run.results.get((stage, split)) for run in runs]
        headline = next(result.headline for result in results if result is not None)
        first, same = here[0], [_same(results[0], result) for result in results]
        values = [
            _value(row, headline, None if place == 0 or not same[place] else first) for place, row in enumerate(here)
        ]
        name = f"{stage} on {split}" if split else stage
        yield ComparedScore(name, score_name(headline), kind, values, _pictures_in_words(runs, results, same))


def _own(run: OpenedRun) -> Iterator[tuple[tuple[str, str, str], Row]]:
    for (stage, split), result in run.results.items():
        for row in own_rows(result):
            yield (stage, split, kind_of(result, row)), row


def _value(row: Row | None, headline: str, first: Row | None) -> ComparedValue:
    if row is None:
        return ComparedValue(math.nan, math.nan, math.nan, None)
    score = row.scores.get(headline, math.nan)
    difference = None if first is None else score - first.scores.get(headline, math.nan)
    known = None if difference is None or math.isnan(difference) else difference
    return ComparedValue(score, row.low, row.high, known)


def _same(first: Evaluation | None, other: Evaluation | None) -> bool:
    """Whether two evaluations scored the same pictures by the same protocol."""
    if first is None or other is None:
        return False
    told = [(one.task, one.headline, one.dataset, one.pictures, one.picture_scores.keys()) for one in (first, other)]
    return told[0] == told[1]


def _pictures_in_words(runs: Sequence[OpenedRun], results: Sequence[Evaluation | None], same: Sequence[bool]) -> str:
    """Whether the runs were scored on the same pictures."""
    first = results[0]
    if first is None:
        return f"not scored in {runs[0].name}, so no difference is given"
    others = [(run.name, result) for run, result, is_same in zip(runs, results, same, strict=True) if not is_same]
    apart = [(name, result) for name, result in others if result is not None]
    if not apart:
        return f"the same {first.pictures:,}" if any(same[1:]) else f"{first.pictures:,}"
    words = [
        f"{name}: others ({result.pictures:,}, {len(first.picture_scores.keys() & result.picture_scores.keys()):,} of "
        f"them among those of {runs[0].name})"
        for name, result in apart
    ]
    return f"NOT the same, so no difference is given; {runs[0].name}: {first.pictures:,}; {'; '.join(words)}"


def _pairs(runs: Sequence[OpenedRun]) -> Iterator[str]:
    """On how many pictures another run is better than the first, at the thresholds that need no truth."""
    for (stage, split), first in runs[0].results.items():
        for run in runs[1:]:
            other = run.results.get((stage, split))
            common = first.picture_scores.keys() & other.picture_scores.keys() if other is not None else set()
            if other is None or not common or first.headline != other.headline:
                continue
            gains = [other.picture_scores[id_] - first.picture_scores[id_] for id_ in common]
            better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
            on, of = f"{stage} on {split}" if split else stage, counted(len(gains), "common picture")
            yield (
                f"{on}: picture by picture {run.name} is better than {runs[0].name} in {better:,} of {of}, worse in "
                f"{worse:,}, equal in {len(gains) - better - worse:,}."
            )


def _seconds(runs: Sequence[OpenedRun]) -> Iterator[tuple[str, list[float | None]]]:
    for name in dict.fromkeys(name for run in runs for name in run.seconds):
        yield name, [run.seconds.get(name) for run in runs]
