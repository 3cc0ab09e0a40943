"""What is known of many pictures as one JSON file, of which a picture at a time is held in memory."""

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from advcam.store.files import replacing
from advcam.store.places import Place
from advcam.store.run import JSON


class PictureEntries:
    """A file `{"pictures": {id: entry, ..}}` that is whole or absent, written entry by entry as a context manager.

    Args:
        path: Of the file; its parent folders are created.
        facts: Of all pictures, before "pictures".
    """

    def __init__(self, path: Place, facts: Mapping[str, JSON] | None = None) -> None:
        self._replacing, self._first = replacing(path), True
        self._facts = facts or {}

    def __enter__(self) -> Self:
        self._file = self._replacing.__enter__()
        facts = "".join(f"{json.dumps(name)}: {json.dumps(value)}, " for name, value in self._facts.items())
        self._file.write(f'{{{facts}"pictures": {{\n'.encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if kind is None:
            self._file.write(b"}}\n")
        return self._replacing.__exit__(kind, error, trace)

    def add(self, id_: str, entry: object) -> None:
        """The entry of a picture, a value that JSON can hold.

        Raises:
            RunError: It cannot be written, at the latest when the block ends.
        """
        self._file.write(f"{' ' if self._first else ','}{json.dumps(id_)}: {json.dumps(entry)}\n".encode())
        self._first = False
