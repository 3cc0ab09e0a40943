"""Names of classes, and finding a class by what a user wrote."""

import difflib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from timm.data.imagenet_info import ImageNetInfo

from advcam import untrusted
from advcam.errors import LabelError, one_line

#: Bytes of a list of class names; that of ImageNet-21k has about 0.5 MB.
_MOST_BYTES = 16 * 2**20
#: Digits of a class number from which on it is none.
_DIGITS = 10
#: Characters of a label that is compared to all names, which takes long.
_LONGEST_COMPARED = 200


class ClassIndex:
    """Finds the number of a class by its name, a synonym or its number.

    Args:
        names: Name of each class, unique. Case matters only where it tells two names apart.
        synonyms: Further names of each class; a synonym of several classes finds none of them.
    """

    def __init__(self, names: Sequence[str], synonyms: Sequence[Sequence[str]] = ()) -> None:
        self.names = tuple(names)
        self._ids: dict[str, set[int]] = {}
        for class_id, words in enumerate(synonyms):
            for word in words:
                self._ids.setdefault(word.strip().casefold(), set()).add(class_id)
        named: dict[str, set[int]] = {}
        for class_id, name in enumerate(self.names):
            named.setdefault(name.strip().casefold(), set()).add(class_id)
        self._ids |= named

    def find(self, label: str | int) -> int:
        """Number of the class.

        Raises:
            LabelError: No class or several classes are meant; the nearest names are suggested.
        """
        key = str(label).strip().casefold()
        found = self._ids.get(key, set()) if isinstance(label, str) else set()
        exact = [class_id for class_id in found if self.names[class_id].strip() == str(label).strip()]
        if len(found) == 1 or len(exact) == 1:
            return (exact or list(found))[0]
        if len(found) > 1:
            candidates = " or ".join(repr(self.names[class_id]) for class_id in sorted(found))
            raise LabelError(f"the label {label!r} fits several classes: write {candidates}")
        if key.isdecimal() and len(key) < _DIGITS and int(key) < len(self.names):
            return int(key)
        raise LabelError(self._unknown(label, key))

    def _unknown(self, label: str | int, key: str) -> str:
        comparable = not key.lstrip("-").isdecimal() and len(key) <= _LONGEST_COMPARED
        words = self._ids if comparable else ()
        near = difflib.get_close_matches(key, words, n=3, cutoff=0.7)
        suggested = dict.fromkeys(self.names[class_id] for word in near for class_id in self._ids[word])
        hint = f"did you mean {' or '.join(map(repr, suggested))}? " if suggested else ""
        return (
            f"the classifier has no class {label!r}; {hint}it knows {len(self.names)} classes, "
            f"numbered 0 to {len(self.names) - 1}"
        )


@cache
def imagenet_classes() -> ClassIndex:
    """The 1,000 ImageNet classes: found by first name, any synonym, or WordNet id (`n02123045`)."""
    info: Any = ImageNetInfo()
    wordnet_ids = info.label_names()
    synonyms = [info.index_to_description(index).split(", ") for index in range(len(wordnet_ids))]
    first = [words[0] for words in synonyms]
    folded = [name.casefold() for name in first]
    # "crane" and "maillot" each name two classes; a Cardigan is a dog, a cardigan is not.
    names = [
        f"{name} ({wordnet_id})" if folded.count(name.casefold()) > 1 else name
        for name, wordnet_id in zip(first, wordnet_ids, strict=True)
    ]
    return ClassIndex(names, [[*words, w] for words, w in zip(synonyms, wordnet_ids, strict=True)])


def read_class_names(path: Path) -> ClassIndex:
    """Class names from a text file, one a line, in the order of the classifier's outputs.

    Raises:
        LabelError: The file is missing, not text, empty, or names a class twice.
    """
    try:
        lines = untrusted.read_text(path, _MOST_BYTES).splitlines()
    except (OSError, ValueError) as error:
        raise LabelError(
            f"cannot read class names from {path} ({one_line(error)}): expected a UTF-8 text file, one name a line"
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if not names or repeated:
        problem = f"names {', '.join(repeated[:3])} more than once" if repeated else "is empty"
        raise LabelError(f"the class name file {path} {problem}; expected one different name a line")
    return ClassIndex(names)
