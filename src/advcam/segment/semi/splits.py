"""Which pictures of a data set are strong in semi-supervised training: those whose true masks may be learnt.

By number, they are drawn class by class: the next picture is a random one of the class that the fewest chosen pictures
show. So every class that pictures with masks have is there as soon as there are as many pictures as classes, and a
longer draw begins with all pictures of a shorter one. The published lists of 60 and 100 VOC pictures, 3 and 5 for each
class, are of that kind (Ouali, Hudelot, Tami, CVPR 2020; yassouali/CCT), but from the top of the list of all pictures
instead of at random.
"""

import math
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from pathlib import Path, PurePosixPath

import numpy as np

from advcam.datasets.dataset import Dataset
from advcam.errors import DatasetError, SettingError, counted
from advcam.store.reading import numbered_lines
from advcam.types import IGNORE, Sample

_NAMED = 3


def strong_samples(
    dataset: Dataset, samples: Sequence[Sample], strong: str, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Divide pictures into strong ones, all of which have masks, and the rest.

    Args:
        dataset: That they are from.
        samples: A split, or several; each picture once.
        strong: How many ("60"), what share of `samples` ("1/32", "0.03125"; rounded up as in the published lists: 1/16
            of 10,582 are 662), or a text file with a picture a line: its id, its path, or the paths of picture and
            mask.
        seed: Of the draw. Equal seeds choose the same pictures whatever the order of `samples`.

    Returns:
        The strong pictures, in the order in which they were drawn or listed, and all others in their own order.

    Raises:
        SettingError: It is neither number, share nor file; no picture, or more than there are with masks.
        DatasetError: The list or a mask cannot be read; the list names pictures that are not there or have no mask.
    """
    count = _count(strong, len(samples))
    chosen = _listed(dataset, samples, Path(strong)) if count is None else _drawn(dataset, samples, count, seed)
    ids = {sample.id for sample in chosen}
    return chosen, [sample for sample in samples if sample.id not in ids]


def check_apart(strong: Sequence[Sample], weak: Sequence[Sample]) -> None:
    """Raise `SettingError` where a picture is in both of two lists that were given."""
    both = {sample.id for sample in strong} & {sample.id for sample in weak}
    if both:
        raise SettingError(
            f"{counted(len(both), 'picture')} in the list of strong and in that of weak pictures "
            f"({_first(sorted(both))}); keep each in one of them"
        )


def _count(strong: str, total: int) -> int | None:
    """How many pictures are wanted; None where a list says which."""
    text = strong.strip()
    if text.isdecimal():
        count = int(text)
    else:
        try:
            share = Fraction(text)
        except (ValueError, ZeroDivisionError):
            if Path(strong).is_file():
                return None
            raise SettingError(
                f'strong pictures are a number ("60"), a share ("1/32" or "0.03125") or a file with one a line; '
                f"{strong!r} is none of them"
            ) from None
        if share > 1:
            raise SettingError(f"a share of the pictures is at most 1; got {strong}; a number has no point or slash")
        count = math.ceil(share * total)
    if count < 1:
        raise SettingError(f"{strong} of {counted(total, 'picture')} leaves no strong one; name at least 1")
    return count


def _drawn(dataset: Dataset, samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """The next picture is one of the class that the fewest show so far; of equal ones the one with fewest pictures."""
    ordered = sorted(samples, key=lambda sample: sample.id)
    shuffled = [ordered[number] for number in np.random.default_rng(seed).permutation(len(ordered))]
    classes = {sample.id: _classes(dataset, sample) for sample in shuffled}
    waiting: dict[str, deque[Sample]] = {}
    for sample in shuffled:
        for name in classes[sample.id]:
            waiting.setdefault(name, deque()).append(sample)
    sizes = {name: len(pictures) for name, pictures in waiting.items()}
    shown: Counter[str] = Counter()
    seen: set[str] = set()
    chosen: list[Sample] = []
    while waiting and len(chosen) < count:
        rarest = min(waiting, key=lambda name: (shown[name], sizes[name], name))
        sample = waiting[rarest].popleft()
        if not waiting[rarest]:
            del waiting[rarest]
        if sample.id not in seen and dataset.mask(sample.id) is not None:
            chosen.append(sample)
            shown.update(classes[sample.id])
        seen.add(sample.id)
    if len(chosen) < count:
        raise SettingError(
            f"{counted(count, 'strong picture')} wanted, and {len(chosen):,} of {counted(len(samples), 'picture')} "
            f"have a true mask; name fewer, or a split whose pictures have true masks"
        )
    return chosen


def _classes(dataset: Dataset, sample: Sample) -> Collection[str]:
    """What a picture shows, by its image labels, or by its mask where they are unknown; "" where it is nothing."""
    if sample.labels is not None:
        return set(sample.labels) or {""}
    mask = dataset.mask(sample.id)
    values = [] if mask is None else np.setdiff1d(mask, [0, IGNORE]).tolist()
    return {dataset.class_names[value - 1] for value in values} or {""}


def _listed(dataset: Dataset, samples: Sequence[Sample], path: Path) -> list[Sample]:
    """The pictures of a list, each once, in its order."""
    by_id = {sample.id: sample for sample in samples}
    stems = Counter(PurePosixPath(id_).stem for id_ in by_id)
    by_stem = {stem: s for s in samples if stems[stem := PurePosixPath(s.id).stem] == 1}
    chosen: dict[str, Sample] = {}
    unknown: list[str] = []
    for where, line in numbered_lines(path):
        found = next((by_id[name] for name in _names(line) if name in by_id), None)
        found = found or next((by_stem[name] for name in _names(line) if name in by_stem), None)
        if found is None:
            unknown.append(f"{where}: {line!r}")
        else:
            chosen[found.id] = found
    if unknown:
        raise DatasetError(
            f"{counted(len(unknown), 'line')} of the strong pictures' list name none of the {len(samples):,} pictures "
            f"to train with: {_first(unknown)}; mend the list, or name the split that they are in"
        )
    if not chosen:
        raise DatasetError(f"{path} names no picture; write one a line")
    bare = [id_ for id_ in chosen if dataset.mask(id_) is None]
    if bare:
        raise DatasetError(
            f"{path} names {counted(len(bare), 'picture')} without a mask ({_first(bare)}); a strong picture needs "
            "one: restore it, or remove the line"
        )
    return list(chosen.values())


def _names(line: str) -> Iterator[str]:
    """What a line may mean: an id, which may hold spaces, or the path of a picture, before that of its mask."""
    first = line.split()[0].lstrip("/")
    yield from (line, first, PurePosixPath(line).stem, PurePosixPath(first).stem)


def _first(cases: Sequence[str]) -> str:
    more = len(cases) - _NAMED
    return ", ".join(cases[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
