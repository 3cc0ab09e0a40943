"""Which pictures a report shows: the worst, the best, the most doubtful, and others evenly spread."""

import math
from collections.abc import Iterator, Mapping, Sequence

from advcam.pipeline.targets import evenly
from advcam.types import Sample


def chosen(
    samples: Sequence[Sample],
    count: int,
    scores: Mapping[str, float],
    sure: Mapping[str, float],
    whose: str,
) -> Iterator[tuple[str, list[Sample]]]:
    """Groups of pictures with their headings, no picture twice, together at most `count`.

    Args:
        samples: To choose from.
        count: How many are shown.
        scores: Of each picture whose truth is known, the higher the better.
        sure: How sure the run is of each picture, 0 to 1, the higher the surer.
        whose: Of what the scores and confidences are, for the headings.
    """
    left = {sample.id: sample for sample in samples}

    def taken(ids: Sequence[str], most: int) -> list[Sample]:
        return [left.pop(id_) for id_ in [id_ for id_ in ids if id_ in left][:most]]

    known = sorted((id_ for id_ in left if math.isfinite(scores.get(id_, math.nan))), key=lambda id_: scores[id_])
    some = min(-(-count // 4), count // 2, len(known) // 2)
    groups = [("The worst", taken(known, some)), ("The best", taken(known[::-1], some))]
    room = count - 2 * some
    groups.append(("The most doubtful", taken(sorted(sure, key=lambda id_: sure[id_]), room // 2)))
    room -= len(groups[-1][1])
    rest = [sample for sample in samples if sample.id in left]
    heading = "Others, evenly spread" if len(rest) < len(samples) else "Pictures, evenly spread"
    groups.append((heading, evenly(rest, room) if room else []))
    yield from ((f"{name} {whose}", members) for name, members in groups if members)
