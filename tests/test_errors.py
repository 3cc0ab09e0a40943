"""What an error shows of the names it quotes."""

from hypothesis import given
from hypothesis import strategies as st

from advcam.errors import AdvcamError, PictureError, RunError, counted, one_line, printable


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=2000))
def test_plain_text_is_shown_as_it_is(text: str):
    assert printable(text) == text == str(AdvcamError(text))


@given(st.text(st.characters(), max_size=5000))
def test_any_text_can_be_shown_and_ends(text: str):
    shown = str(RunError(text))
    shown.encode()
    assert "\x1b" not in shown
    assert all(one.isprintable() or one in "\n\t" for one in shown)
    assert len(shown) < 10 * 2000 + 10


def test_characters_that_no_terminal_should_get_are_spelt_out():
    assert str(PictureError("a\x1b[31mb\u202ec\ud800d\U000e0001e")) == r"a\x1b[31mb\u202ec\ud800d\U000e0001e"
    assert str(PictureError("Maçã 猫 😀\nsecond\tline")) == "Maçã 猫 😀\nsecond\tline"


def test_place_and_advice_of_a_long_error_stay():
    error = RunError(f"here: {'x' * 100_000}; mend it")
    assert str(error).startswith("here: xxx")
    assert " [..] " in str(error)
    assert str(error).endswith("xxx; mend it")


def test_the_first_line():
    assert one_line(RunError("a\nb")) == "a"
    assert one_line(RunError("")) == "RunError"


def test_numbers_with_their_noun():
    assert [counted(number, "picture") for number in (0, 1, 1449)] == ["0 pictures", "1 picture", "1,449 pictures"]
