"""`classes.json` of a run, read: which number of its masks stands for which class."""

from dataclasses import dataclass
from pathlib import Path

from advcam import untrusted
from advcam.types import IGNORE

_KEYS = ("number", "class_id", "name")
_MOST_BYTES = 64 * 2**20
#: Numbers of classes from here on are taken for damage; masks hold numbers of 16 bits.
_MOST_CLASSES, _MOST_NUMBER = 1_000_000, 65535


@dataclass(frozen=True)
class ClassEntry:
    """One class.

    Args:
        number: In the masks: 1 to 65535, but not 255.
        class_id: Output of the classifier, counted from 0.
        name: For people.
    """

    number: int
    class_id: int
    name: str


def read_class_file(path: Path) -> tuple[ClassEntry, ...]:
    """The classes of a file, in its order; background and ignore, which are no classes, are left out.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file, or gives a number or a class twice.
    """
    return parse_classes(untrusted.read_bytes(path, _MOST_BYTES))


def parse_classes(text: bytes) -> tuple[ClassEntry, ...]:
    """As `read_class_file`, of its text.

    Raises:
        ValueError: It is no such file, or gives a number or a class twice.
    """
    content = untrusted.parse_json(text)
    if not isinstance(content, list):
        raise ValueError("it is no list of classes")
    entries = tuple(_entry(one) for one in content if not (isinstance(one, dict) and "class_id" not in one))
    for values in ([entry.number for entry in entries], [entry.class_id for entry in entries]):
        if len(set(values)) < len(values):
            raise ValueError("two of its classes have the same number")
    return entries


def _entry(content: object) -> ClassEntry:
    number, class_id, name = (content.get(key) if isinstance(content, dict) else None for key in _KEYS)
    if type(number) is not int or not 0 < number <= _MOST_NUMBER or number == IGNORE:
        raise ValueError(f"a class has a number from 1 to {_MOST_NUMBER:,} other than {IGNORE}")
    if type(class_id) is not int or not 0 <= class_id < _MOST_CLASSES or not isinstance(name, str):
        raise ValueError(f"a class has a class_id below {_MOST_CLASSES:,} and a name")
    return ClassEntry(number, class_id, name)
