"""Names of classes that tell the classes apart."""

from collections import Counter
from collections.abc import Sequence


def unique_names(names: Sequence[str], keys: Sequence[str]) -> tuple[str, ...]:
    """The names, each repeated one with its key, as in "crane (n03126707)".

    Args:
        names: Name of each class, in order.
        keys: Something unique for each class: a synset, a category id.
    """
    times = Counter(names)
    return tuple(f"{name} ({key})" if times[name] > 1 else name for name, key in zip(names, keys, strict=True))
