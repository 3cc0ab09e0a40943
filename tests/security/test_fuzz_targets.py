"""Every reader of files from elsewhere, on changed files: it takes them or refuses them by an error of advcam."""

import random
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.catalogue import TARGETS
from fuzz.target import Target, file_reader
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from advcam.errors import SettingError

#: Their weights are missing beside the facts, so nothing is ever accepted.
REFUSED_AT_LAST = ("trained-classifier", "trained-segmenter")
EXAMPLES = 15


@pytest.fixture(scope="module", autouse=True)
def scratch() -> Iterator[None]:
    """Where targets make their folders."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(tempfile, "tempdir", folder)
        warnings.simplefilter("ignore")  # Pillow warns of damage that it goes on with
        yield


@pytest.mark.parametrize("name", TARGETS)
def test_a_valid_file_is_accepted(name: str):
    target = TARGETS[name]
    assert target.corpus
    assert target(target.corpus[0]) is (name not in REFUSED_AT_LAST)
    for content in target.corpus:
        target(content)


@pytest.mark.parametrize("name", TARGETS)
def test_a_changed_file_is_taken_or_refused(name: str):
    target = TARGETS[name]

    @seed(0)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(target.corpus), st.integers(0, 2**32), st.integers(1, 4), st.binary(max_size=40))
    def read(content: bytes, number: int, changes: int, raw: bytes):
        draw = random.Random(number)
        for _ in range(changes):
            content = target.mutate(content, draw)
        target(content)
        target(raw)

    read()


def _target(error: BaseException) -> Target:
    def read(_path: Path) -> None:
        raise error

    return Target("toy", file_reader("a", read), lambda _: [b""], lambda content, _: content)


def test_a_target_lets_no_other_error_pass():
    assert _target(SettingError("one line"))(b"") is False
    for error in (
        KeyError("a"),
        RecursionError(),
        MemoryError(),
        OverflowError(),
        UnicodeEncodeError("a", "b", 0, 1, "c"),
    ):
        with pytest.raises(type(error)):
            _target(error)(b"")


def test_an_error_quotes_little_and_only_what_can_be_shown():
    for words in ("9" * 100_000, "\ud800", "\x1b[31mred", "\u202egnp.exe"):
        error = SettingError(f"the name {words} is odd; change it")
        assert _target(error)(b"") is False
        assert str(error).isprintable()
        assert str(error).startswith("the name ")
        assert str(error).endswith(" is odd; change it")
