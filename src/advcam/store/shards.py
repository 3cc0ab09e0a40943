"""Results of millions of pictures in Parquet shards, each whole or absent, never changed, and named by what it holds.

A store is a folder of files, a row a picture, compressed with zstd:

    part-<first>-<last>-g<generation>-<checksum>.parquet     a finished shard
    piece-<first>-<last>-g<generation>-<checksum>.parquet    what an unfinished one has so far

`first` and `last` are the places of its pictures in the list of the run, the checksum is the beginning of the SHA-256
of the bytes of the file. So a shard proves itself: a damaged one no longer fits its name, two writers of the same shard
write the same file, and what is on disk alone says what is done. Of rows of the same picture that of the highest
generation counts, then that of a finished shard.

Every row begins with the columns

    sample_id    string       id of the picture in its data set
    file_bytes   int64        size of the picture file when it was worked on
    class_ids    list<int32>  the classes that it was worked on for; null: not restricted

and the schema carries the name of the format and its version as metadata. `_index.parquet` repeats, for a quick start,
which shard holds which row.
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from advcam.errors import RunError, one_line
from advcam.store.files import remove_leftovers, replacing
from advcam.store.index import Keys, ShardIndex, keys_of, read_table
from advcam.store.places import Place

#: Rows decoded at once, which bounds the memory of reading.
_ROW_GROUP = 8
_CHECKSUM = 16
_INDEX = "_index.parquet"  # pyarrow, Spark and Ray leave out names that begin so
_NAME = re.compile(r"(part|piece)-(\d+)-(\d+)-g(\d+)-([0-9a-f]{16})\.parquet")
_OLDER = re.compile(r"part-\d+\.parquet")
#: The columns that every format begins with.
KEY_COLUMNS = {"sample_id": pa.string(), "file_bytes": pa.int64(), "class_ids": pa.list_(pa.int32())}

Row = TypeVar("Row")


@dataclass(frozen=True, order=True)
class ShardName:
    """The name of a shard's file, in the order in which rows count.

    Args:
        generation: 0, or one more than that of the rows that it replaces.
        finished: Whether it is a finished shard.
        first: Place of its first picture in the list of the run.
        last: Place of its last picture.
        checksum: Beginning of the SHA-256 of the file, in hexadecimal digits.
    """

    generation: int
    finished: bool
    first: int
    last: int
    checksum: str

    @property
    def file(self) -> str:
        """As on disk."""
        kind = "part" if self.finished else "piece"
        return f"{kind}-{self.first:08d}-{self.last:08d}-g{self.generation}-{self.checksum}.parquet"

    @classmethod
    def parse(cls, file: str) -> "ShardName | None":
        """The parts of a file's name; None for a file of another kind."""
        match = _NAME.fullmatch(file)
        if match is None:
            return None
        kind, first, last, generation, checksum = match.groups()
        return cls(int(generation), kind == "part", int(first), int(last), checksum)


@dataclass(frozen=True)
class Format(Generic[Row]):
    """How the rows of a store are written.

    Args:
        name: In the metadata of the schema.
        version: Of the format.
        columns: Behind `KEY_COLUMNS`.
        encode: A row as a value for each column.
        decode: The reverse.
    """

    name: str
    version: str
    columns: Mapping[str, pa.DataType]
    encode: Callable[[Row], dict[str, Any]]
    decode: Callable[[dict[str, Any]], Row]

    @property
    def schema(self) -> pa.Schema:
        """Of the Parquet files."""
        return pa.schema(KEY_COLUMNS | dict(self.columns), metadata={self.name.encode(): self.version.encode()})


class ShardStore(Generic[Row]):
    """A folder of shards, written by any number of processes and read meanwhile.

    Args:
        folder: Local, or at a URL; need not exist.
        format_: Of the rows.

    Raises:
        RunError: The folder is a file.
    """

    def __init__(self, folder: Place, format_: Format[Row]) -> None:
        if folder.exists() and not folder.is_dir():
            raise RunError(f"results need a folder, but {folder} is a file; choose another --out")
        self.folder, self.format = folder, format_
        self._index: ShardIndex | None = None

    def write(
        self, rows: Sequence[Row], first: int, last: int, *, finished: bool = True, generation: int = 0
    ) -> ShardName:
        """Write rows as one shard.

        Args:
            rows: In the order of the list.
            first: Place of the shard's first picture in the list of the run.
            last: Place of its last.
            finished: Else it is a piece, which the finished shard will replace.
            generation: See `ShardName`.

        Raises:
            RunError: The shard cannot be written.
        """
        data = self._serialised(rows)
        checksum = hashlib.sha256(data).hexdigest()[:_CHECKSUM]
        name = ShardName(generation, finished, first, last, checksum)
        with replacing(self.folder / name.file) as file:
            file.write(data)
        self._index = None
        return name

    def names(self) -> list[ShardName]:
        """The shards that are there, those whose rows count first at the end.

        Raises:
            RunError: The folder cannot be listed, or was written by an older version.
        """
        files = self._files()
        if any(_OLDER.fullmatch(file) for file in files):
            raise RunError(f"{self.folder} was written by an older version of advcam; choose another --out")
        return sorted(name for name in map(ShardName.parse, files) if name is not None)

    def index(self) -> ShardIndex:
        """What is stored, in a few bytes a picture; opens the shards that `_index.parquet` does not know.

        Raises:
            RunError: A shard is damaged or of an unknown format version.
        """
        if self._index is None:
            known = self._read_index()
            self._index = ShardIndex(
                self.names(), lambda name: known[name.file] if name.file in known else self._keys(name)
            )
        return self._index

    def write_index(self) -> None:
        """Keep the index in `_index.parquet`, so that a run of many shards begins without opening them all.

        Nothing depends on it: a shard that it lacks is opened, and what it says of a file that is gone means nothing.

        Raises:
            RunError: It cannot be written, or a shard is damaged.
        """
        index = self.index()
        if index.names:
            with replacing(self.folder / _INDEX) as file:
                pq.write_table(index.table(), file, compression="zstd")

    def indexed(self) -> dict[ShardName, set[int]]:
        """The shards that `_index.parquet` knows, there or not, and the digests of the ids of their pictures."""
        named = ((ShardName.parse(file), keys) for file, keys in self._read_index().items())
        return {name: set(keys["id"].tolist()) for name, keys in named if name is not None}

    def read(self, name: ShardName) -> Iterator[Row]:
        """The rows of one shard, one after the other.

        Raises:
            RunError: It is missing, damaged or of an unknown format version.
        """
        with self._reading(name) as file:
            for group in range(file.num_row_groups):
                for record in file.read_row_group(group).to_pylist():
                    yield self.format.decode(record)

    def __iter__(self) -> Iterator[Row]:
        """Every picture once; memory for a few rows, and for the index.

        Raises:
            RunError: A shard is damaged or of an unknown format version.
        """
        index = self.index()
        for number, name in enumerate(index.names):
            with self._reading(name) as file:
                for group in range(file.num_row_groups):
                    for record in file.read_row_group(group).to_pylist():
                        if index.shard_number(record["sample_id"]) == number:
                            yield self.format.decode(record)

    def get(self, sample_id: str) -> Row:
        """The row of one picture that counts.

        Raises:
            RunError: There is none, or a shard is damaged or of an unknown format version.
        """
        name = self.index().shard_of(sample_id)
        if name is None:
            raise RunError(f"{self.folder} holds nothing of {sample_id}; run the command that makes it first")
        with self._reading(name) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["sample_id"])["sample_id"].to_pylist()
                if sample_id in ids:
                    row = file.read_row_group(group).slice(ids.index(sample_id), 1)
                    return self.format.decode(row.to_pylist()[0])
        raise RunError(f"{self.folder / name.file} is not what it was when it was listed; run the same command again")

    def ids(self) -> Iterator[str]:
        """The id of every picture once.

        Raises:
            RunError: A shard is damaged or of an unknown format version.
        """
        index = self.index()
        for number, name in enumerate(index.names):
            with self._reading(name) as file:
                ids = file.read(columns=["sample_id"])["sample_id"].to_pylist()
            yield from (id_ for id_ in ids if index.shard_number(id_) == number)

    def class_ids(self) -> set[int]:
        """All classes that rows were worked on for.

        Raises:
            RunError: A shard is damaged or of an unknown format version.
        """
        found: set[int] = set()
        for name in self.names():
            with self._reading(name) as file:
                found.update(*(ids for ids in file.read(columns=["class_ids"])["class_ids"].to_pylist() if ids))
        return found

    def fits_its_name(self, name: ShardName) -> bool:
        """Whether the bytes of a shard are those that were written.

        Raises:
            RunError: It cannot be read.
        """
        found = hashlib.sha256()
        try:
            with (self.folder / name.file).open("rb") as file:
                while block := file.read(1 << 20):
                    found.update(block)
        except OSError as error:
            raise RunError(f"{self.folder / name.file} cannot be read ({error.strerror or one_line(error)})") from error
        return found.hexdigest()[:_CHECKSUM] == name.checksum

    def remove(self, name: ShardName) -> None:
        """Delete a shard; one that is gone already is no error."""
        with suppress(FileNotFoundError):
            (self.folder / name.file).unlink()
        self._index = None

    def clean(self) -> None:
        """Delete what dead writers left: temporary files, and pieces whose rows all lie in other shards.

        Raises:
            RunError: A shard is damaged or of an unknown format version.
        """
        remove_leftovers(self.folder)
        self._index = None  # other processes have written
        for name in list(self.index().superseded()):
            if not name.finished:
                self.remove(name)

    def _files(self) -> list[str]:
        try:
            return [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(
                f"{self.folder} cannot be listed ({error.strerror or one_line(error)}); change its permissions or "
                "choose another --out"
            ) from error

    def _serialised(self, rows: Sequence[Row]) -> bytes:
        table = pa.Table.from_pylist([self.format.encode(row) for row in rows], schema=self.format.schema)
        buffer = io.BytesIO()
        pq.write_table(
            table,
            buffer,
            row_group_size=_ROW_GROUP,
            compression="zstd",
            use_dictionary=False,
            write_statistics=["sample_id"],
            write_page_checksum=True,
        )
        return buffer.getvalue()

    def _keys(self, name: ShardName) -> Keys:
        with self._reading(name) as file:
            columns = file.read(columns=list(KEY_COLUMNS)).to_pydict()
            return keys_of(zip(*(columns[column] for column in KEY_COLUMNS), strict=True))

    def _read_index(self) -> dict[str, Keys]:
        try:
            with (self.folder / _INDEX).open("rb") as file:
                return read_table(pq.read_table(file))
        except (pa.ArrowException, OSError, ValueError, LookupError, AttributeError, TypeError):
            return {}  # absent or damaged: the shards themselves say the same

    @contextmanager
    def _reading(self, name: ShardName) -> Iterator[Any]:
        """The shard as an open `pyarrow.parquet.ParquetFile` of a known version; any failure is a `RunError`."""
        path, key = self.folder / name.file, self.format.name.encode()
        try:
            with path.open("rb") as raw, pq.ParquetFile(raw, page_checksum_verification=True) as file:
                version = (file.schema_arrow.metadata or {}).get(key, b"unknown").decode()
                if version != self.format.version:
                    raise RunError(
                        f"{path} has format {version}, but this version of advcam reads format "
                        f"{self.format.version}; use the version that wrote it or choose another --out"
                    )
                yield file
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno:  # of the disk; pyarrow reports damage without a number
                raise RunError(
                    f"{path} cannot be read ({error.strerror}); change its permissions or mend the disk, then "
                    "run the same command again"
                ) from error
            raise RunError(f"{path} is damaged ({one_line(error)}); advcam verify mends its run") from error
