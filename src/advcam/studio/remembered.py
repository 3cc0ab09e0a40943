"""RUN/studio/index.parquet: what a server found out of the pictures, for the next one. It may be deleted."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from advcam.errors import RunError
from advcam.store.files import replacing
from advcam.studio.measuring import Measured

_VERSION = {b"advcam_studio": b"1"}
_NUMBERS = pa.list_(pa.int32())
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "fingerprint": pa.uint64(),
        "labels": _NUMBERS,
        "shown": _NUMBERS,
        "confidence": pa.float32(),
        "disagreement": pa.float32(),
        "iou": pa.float32(),
        "masked": pa.bool_(),
    },
    metadata=_VERSION,
)
_NAMES = [name for name in _SCHEMA.names if name != "id"]


class Remembered:
    """The file.

    Args:
        path: Need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Measured] = {}

    def load(self) -> None:
        """Read it; a file that is missing, damaged or of another version is as good as none."""
        with suppress(pa.ArrowException, OSError, ValueError, LookupError, TypeError):
            table = pq.read_table(self.path)
            if (table.schema.metadata or {}).get(b"advcam_studio") == b"1":
                columns = [table[name].to_pylist() for name in ("id", *_NAMES)]
                self._known = {id_: _measured(values) for id_, *values in zip(*columns, strict=True)}

    def find(self, id_: str, fingerprint: int) -> Measured | None:
        """What was found of a picture, if its files are as they were; asked once, then it is with whoever asked."""
        known = self._known.pop(id_, None)
        return known if known is not None and known.fingerprint == fingerprint else None

    def keep(self, rows: Iterable[tuple[str, Measured | None]]) -> None:
        """Write it; a run that cannot be written to goes without. Pictures with a problem are looked at again."""
        found = [(id_, row) for id_, row in rows if row is not None and not row.problem]
        columns = {name: [getattr(row, name) for _, row in found] for name in _NAMES}
        table = pa.table({"id": [id_ for id_, _ in found], **columns}, schema=_SCHEMA)
        with suppress(RunError), replacing(self.path) as file:
            pq.write_table(table, file, compression="zstd")


def _measured(values: Iterable[object]) -> Measured:
    return Measured(*(tuple(value) if isinstance(value, list) else value for value in values))  # type: ignore[arg-type]
