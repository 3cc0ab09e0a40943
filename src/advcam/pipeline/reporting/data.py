"""The pictures of a run, in numbers: how many, their classes, labels and sizes, and which could not be used."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from advcam.datasets.sizes import stored_size
from advcam.errors import AdvcamError, counted
from advcam.pipeline.targets import evenly
from advcam.report.sections import DataSection
from advcam.types import Sample

#: Pictures whose size is looked at, and pictures that could not be used that are named.
_SIZED, _NAMED = 200, 50
_MANY_LABELS = 4  # so many or more are counted together


def data_section(
    samples: Sequence[Sample],
    skipped: Sequence[tuple[str, str]] = (),
    facts: Sequence[tuple[str, str]] = (),
    shown: Mapping[str, int] | None = None,
) -> DataSection:
    """What there is to say of the pictures of a run.

    Args:
        samples: The pictures, with the labels that were given.
        skipped: Name and reason of those that could not be used.
        facts: To stand first.
        shown: How many pictures show each class by what was found in them, where nothing was given.
    """
    labels = [sample.labels for sample in samples if sample.labels]
    classes = Counter(name for names in labels for name in set(names)) if labels else Counter(shown or {})
    rows = [*facts, ("Pictures", f"{len(samples):,}")]
    if classes:
        seen = "" if labels else " found in them"
        rows.append(("Classes", f"{len(classes):,}{seen}"))
    if labels:
        rows.append(("Labels a picture", _labels_in_words([len(set(names)) for names in labels])))
    if len(labels) < len(samples) and labels:
        rows.append(("Without a label", f"{len(samples) - len(labels):,}"))
    if sizes := _sizes_in_words(samples):
        rows.append(("Sizes", sizes))
    if skipped:
        rows.append(("Could not be used", counted(len(skipped), "picture")))
    return DataSection(rows, list(classes.items()), list(skipped[:_NAMED]), len(skipped))


def _labels_in_words(numbers: Sequence[int]) -> str:
    """Such as: 1 in 62 pictures, 2 in 30; 1.3 on average."""
    found = sorted(Counter(min(number, _MANY_LABELS) for number in numbers).items())
    if len(found) == 1 and found[0][0] < _MANY_LABELS:
        return f"{found[0][0]} each"
    parts = [f"{number}{' or more' * (number == _MANY_LABELS)} in {count:,}" for number, count in found]
    words = ", ".join([f"{parts[0]} pictures", *parts[1:]])
    return f"{words}; {sum(numbers) / len(numbers):.1f} on average"


def _sizes_in_words(samples: Sequence[Sample]) -> str:
    """Median and range of width and height; "" where no picture can be opened."""
    sizes, some = [], evenly(samples, _SIZED)
    for sample in some:
        with suppress(AdvcamError, OSError):
            sizes.append(stored_size(sample.path))
    if not sizes:
        return ""
    (width, height), low, high = np.median(sizes, axis=0), np.min(sizes, axis=0), np.max(sizes, axis=0)
    of_some = f" (of {len(sizes):,} of them)" if len(some) < len(samples) else ""
    if (low == high).all():
        return f"{width:.0f} × {height:.0f} pixels{of_some}"
    sides = f"{width:.0f} × {height:.0f} pixels in the middle"
    return f"{sides}, {low[0]} to {high[0]} wide and {low[1]} to {high[1]} high{of_some}"
