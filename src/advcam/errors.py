"""The errors of advcam, and how it speaks: each message says what was expected, what came and what to do."""

#: Characters of an error that are shown: the place and the problem stand first, the advice last.
_FIRST, _LAST = 1500, 500


class AdvcamError(Exception):
    """Base of every error that advcam raises on purpose; the command line prints it as one line.

    Errors quote names from files of others: they are cut where they are endless, and characters that no terminal should
    get (escape sequences, changes of direction, half characters) are spelt out.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class SettingError(AdvcamError, ValueError):
    """A setting is outside its range: an unknown method, a negative step, a scale of zero."""


class PictureError(AdvcamError, ValueError):
    """A picture cannot be read or is unusable: truncated, not an image, too small, too elongated."""


class LabelError(AdvcamError, ValueError):
    """A label names no class of the classifier, or a label file is malformed."""


class DatasetError(AdvcamError, ValueError):
    """A data set on disk is not as its layout says: a missing folder, a broken annotation, a mask of another size."""


class ModelError(AdvcamError, ValueError):
    """A network does not fit: no head or feature layer found, NaN in its weights or its output."""


class OutOfMemoryError(ModelError):
    """Not even one picture fits into the memory of the device."""


class WeightsError(ModelError):
    """A weights file cannot be used: another architecture, damaged, or a pickle that holds code."""


class DivergedError(ModelError):
    """A training whose loss is NaN, infinite or exploded; the last good state is still on disk."""


class RunError(AdvcamError):
    """A run directory cannot be used: of another run, read-only, full, or damaged."""


def printable(text: str) -> str:
    """A text that any terminal can show: not too long, and control characters spelt out in hexadecimal."""
    if len(text) > _FIRST + _LAST:
        text = f"{text[:_FIRST]} [..] {text[-_LAST:]}"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)


def one_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none; for progress and reports."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 picture", "1,449 pictures"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
