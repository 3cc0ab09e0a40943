"""Labels of annotation tools, which know classes by their names alone."""

import re
from collections import Counter

from advcam.colours import voc_palette
from advcam.errors import SettingError
from advcam.export.annotated import Classes
from advcam.types import IGNORE

#: Label of undecided pixels, 255.
UNDECIDED = "undecided"
#: Characters that XML 1.0 cannot hold, and those that it turns into spaces.
_NO_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_labels(classes: Classes, title: str, undecided: str = UNDECIDED, longest: int = 1000) -> None:
    """Raise `SettingError` where the names do not tell the classes apart, or a tool cannot hold them.

    Args:
        classes: Of the export.
        title: Of the tool.
        undecided: Its label for undecided pixels.
        longest: Characters that a label may have.
    """
    times = Counter(name.strip() for name in classes.values())
    for number, name in classes.items():
        if name.strip() == undecided:
            problem = "is also the label of undecided pixels"
        elif times[name.strip()] > 1:
            problem = "is that of another class too"
        elif not name.strip() or len(name) > longest or not holds(name):
            problem = f"is empty, has more than {longest} characters, or control characters"
        else:
            continue
        raise SettingError(
            f"{title} knows classes by their names alone, but the name of class {number}, {name!r}, {problem}; rename "
            "it, or export in a format that numbers its classes"
        )


def holds(text: str) -> bool:
    """Whether XML gives a text back as it is."""
    return _NO_XML.search(text) is None


def colour(number: int) -> str:
    """Of a class number or of 255, as "#rrggbb": that of the PASCAL VOC palette, over again from 255 on."""
    index = number if number <= IGNORE else (number - 1) % (IGNORE - 1) + 1
    return f"#{voc_palette()[index].tobytes().hex()}"
