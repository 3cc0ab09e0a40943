"""Which pictures are shown."""

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from advcam.pipeline.reporting.choosing import chosen
from advcam.types import Sample

_SHARE = st.floats(0, 1)
_PICTURES = st.lists(st.tuples(st.none() | _SHARE | st.just(math.nan), st.none() | _SHARE), max_size=30)


@given(_PICTURES, st.integers(0, 40))
def test_no_picture_twice_and_no_more_than_asked_for(
    pictures: list[tuple[float | None, float | None]], count: int
) -> None:
    samples = [Sample(f"{place}", Path()) for place in range(len(pictures))]
    scores = {f"{place}": score for place, (score, _) in enumerate(pictures) if score is not None}
    sure = {f"{place}": one for place, (_, one) in enumerate(pictures) if one is not None}
    groups = dict(chosen(samples, count, scores, sure, "of all"))
    shown = [sample.id for members in groups.values() for sample in members]
    assert len(set(shown)) == len(shown) == min(count, len(samples))
    assert all(groups.values())
    worst = [scores[sample.id] for sample in groups.get("The worst of all", [])]
    best = [scores[sample.id] for sample in groups.get("The best of all", [])]
    assert worst == sorted(worst)
    assert best == sorted(best, reverse=True)
    if worst:
        assert max(worst) <= min(best)
        others = [s for id_, s in scores.items() if math.isfinite(s) and id_ not in shown]
        assert all(max(worst) <= score <= min(best) for score in others)
    doubtful = [sure[sample.id] for sample in groups.get("The most doubtful of all", [])]
    assert doubtful == sorted(doubtful)


def test_a_quarter_each_where_everything_is_known() -> None:
    samples = [Sample(f"{place}", Path()) for place in range(100)]
    scores = {sample.id: int(sample.id) / 100 for sample in samples}
    sure = {sample.id: 1 - int(sample.id) / 100 for sample in samples}
    groups = dict(chosen(samples, 8, scores, sure, "of all"))
    assert {name: [sample.id for sample in members] for name, members in groups.items()} == {
        "The worst of all": ["0", "1"],
        "The best of all": ["99", "98"],
        "The most doubtful of all": ["97", "96"],
        "Others, evenly spread of all": ["2", "49"],
    }
    assert list(dict(chosen(samples, 8, {}, {}, "of all"))) == ["Pictures, evenly spread of all"]
