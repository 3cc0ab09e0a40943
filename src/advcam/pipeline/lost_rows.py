"""Rows of a store that are gone without a trace in its folder, told by what else a run keeps.

`_index.parquet` names the shards of the last session and their pictures, boxes.json and predictions.json list the
pictures of a finished run, summary.json counts them. Each may itself be gone: the others say what they can.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from advcam.errors import counted
from advcam.store.index import id_digest
from advcam.store.places import Place
from advcam.store.shards import ShardName, ShardStore
from advcam.untrusted import parse_json

#: What a finished run lists its pictures in, `{"pictures": {id: ..}}`, and what it counts them in.
BOXES, PREDICTIONS, SUMMARY = "boxes.json", "predictions.json", "summary.json"


def listed_pictures(folder: Place) -> list[str]:
    """Ids of the pictures that a finished run knows; none where it was never finished, or its lists are damaged."""
    found: dict[str, None] = {}
    for name in (BOXES, PREDICTIONS):
        with suppress(OSError, ValueError, LookupError, TypeError):
            found |= dict.fromkeys(parse_json((folder / name).read_bytes())["pictures"])
    return list(found)


def counted_pictures(folder: Place) -> int:
    """How many pictures the last session left finished; 0 where it was interrupted or that is not known."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        summary = parse_json((folder / SUMMARY).read_bytes())
        return 0 if summary["interrupted"] else int(summary["pictures"]) - len(summary["skipped"])
    return 0


def was_interrupted(folder: Place) -> bool:
    """Whether the last session of a run ended before its pictures did."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return bool(parse_json((folder / SUMMARY).read_bytes())["interrupted"])
    return False


def lost_rows(
    store: ShardStore[Any],
    ids: Collection[str],
    damaged: Sequence[ShardName],
    listed: Sequence[str] = (),
    count: int = 0,
) -> list[tuple[Place, str]]:
    """What of a store is gone: shards where the index knows their names, else how many pictures.

    Args:
        store: Where to look.
        ids: Pictures that have a row.
        damaged: Shards that are there and cannot be read: their pictures are not gone without a trace.
        listed: See `listed_pictures`.
        count: See `counted_pictures`.

    Returns:
        Where, and what is wrong there.
    """
    indexed, there = store.indexed(), {id_digest(id_) for id_ in ids}
    files = {name.file for name in store.names()}
    gone = [name for name, digests in sorted(indexed.items()) if name.file not in files and not digests <= there]
    told = there.union(*(indexed.get(name, ()) for name in (*gone, *damaged)))
    lost = [id_ for id_ in listed if id_digest(id_) not in told]
    # A damaged shard that the index does not know may hold as many of them as it has places.
    places = sum(name.last - name.first + 1 for name in damaged if name not in indexed)
    found = [(store.folder / name.file, "is missing") for name in gone]
    if max(len(lost), count - len(told)) > places:
        first = f", the first: {lost[0]}" if lost else ""
        missing = counted(max(len(lost), count - len(told)), "picture")
        found.append((store.folder, f"the rows of {missing} are missing{first}"))
    return found
