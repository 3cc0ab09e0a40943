"""The type of options that name what is written on a disk: a URL is refused before anything is created."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token


def _local(_: type, tokens: Sequence[Token]) -> Path:
    from advcam.store.places import local_place

    return local_place(tokens[0].value)


#: A folder or file to write, on a disk of this machine or on one mounted here.
LocalPath = Annotated[Path, Parameter(converter=_local)]
