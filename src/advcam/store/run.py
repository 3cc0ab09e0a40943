"""The run directory: one folder a run, continued by the same command, refused to any other.

`config.json` holds the settings in two sections with a fingerprint each. What decides the maps ("maps") may
never change within a run; what is made from stored maps ("outputs") may, and is then made anew.

In a folder a lock keeps a second process out. An object store has no locks. What protects a run there: an object is
whole or absent, shards of maps are named by their content, and the other outputs follow from the maps and the settings,
so that two processes that do the same run at once do the work twice and lose nothing. What is not protected: two
processes that start runs of different settings in the same second; the later config.json stays, and the other run is
refused when it is continued.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias

import numpy as np

from advcam.errors import RunError, SettingError, one_line
from advcam.store.files import PARTIAL, remove_leftovers, try_lock, write_text
from advcam.store.index import id_digest
from advcam.store.places import Place
from advcam.store.remote import PROBE, RemotePath, probe
from advcam.untrusted import parse_json

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""A value that JSON can hold."""

FORMAT_VERSION = 1
_SECTIONS = ("maps", "outputs")
_CONFIG, _LOCK = "config.json", ".lock"
_NAMED_IN_ERROR = 3
_VALUE_LENGTH = 60  # characters of a setting that an error shows


class RunDirectory:
    """The places of a run on disk; `open` starts or continues the run, as the only process that does.

    Args:
        folder: The run's folder, or its URL.

    Attributes:
        folder: The run's folder.
        outputs_changed: The folder's outputs were made with other settings than the run was opened with.
    """

    def __init__(self, folder: Place) -> None:
        self.folder = folder
        self.outputs_changed = False
        self._config: dict[str, JSON] = {}
        self._is_open = False
        self._lock: BinaryIO | None = None

    @classmethod
    def open(cls, folder: Place, settings: Mapping[str, Mapping[str, JSON]]) -> Self:
        """Start a run, or continue one with the same "maps" settings.

        In a folder the run is locked against other processes until `close` or the end of the `with` block; in an
        object store it is not (see above), and what is denied there is found out now, not at the first picture.

        Args:
            folder: Created with its parents unless it exists.
            settings: The sections "maps" and "outputs".

        Raises:
            SettingError: The settings have other sections or hold something that JSON cannot.
            RunError: The folder is a file, not writable, in use, damaged, of another run, or no run at all.
        """
        run = cls(folder)
        run._config = _config(settings)
        try:
            if folder.is_file():
                raise RunError(f"{folder} is a file; choose another --out, a run takes a folder")
            folder.mkdir(parents=True, exist_ok=True)
            run._read_config()  # before anything is written, so a folder that is not ours stays untouched
            run._take_lock()
            run._is_open = True
            run._join(run._read_config())
        except BaseException as error:
            run.close()
            if isinstance(error, OSError):
                raise RunError(f"cannot write a run to {folder} ({error.strerror}); choose another --out") from error
            raise
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes write to the run."""
        self._is_open = False
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def record_outputs(self) -> None:
        """Note that the outputs now follow the settings the run was opened with.

        Raises:
            RunError: The run is not open, or the file cannot be written.
        """
        if not self._is_open:
            raise RunError(f"{self.folder} is not open for writing; use RunDirectory.open")
        write_text(self.folder / _CONFIG, json.dumps(self._config, indent=2, ensure_ascii=False) + "\n")
        self.outputs_changed = False

    @property
    def maps_folder(self) -> Place:
        """Folder of the map store."""
        return self.folder / "maps"

    @property
    def masks_folder(self) -> Place:
        """Folder of the masks, one PNG a picture."""
        return self.folder / "masks"

    @property
    def overlays_folder(self) -> Place:
        """Folder of the pictures with their maps over them."""
        return self.folder / "overlays"

    @property
    def boxes_file(self) -> Place:
        """The boxes of all pictures."""
        return self.folder / "boxes.json"

    @property
    def report_file(self) -> Place:
        """The report for people."""
        return self.folder / "report.html"

    @property
    def summary_file(self) -> Place:
        """The summary for programs."""
        return self.folder / "summary.json"

    def _take_lock(self) -> None:
        if isinstance(self.folder, RemotePath):
            probe(self.folder)
            return
        self._lock = (self.folder / _LOCK).open("ab")
        if not try_lock(self._lock):
            raise RunError(f"another process is writing to {self.folder}; wait for it or choose another --out")
        remove_leftovers(self.folder)

    def _join(self, stored: dict[str, JSON] | None) -> None:
        """Start the run if nothing is stored, otherwise hold the stored settings against ours."""
        if stored is None:
            self.record_outputs()
            return
        if _fingerprint(stored["maps"]) != _fingerprint(self._config["maps"]):
            differences = _differences(stored["maps"], self._config["maps"])
            raise RunError(
                f"{self.folder} holds a run with other settings: {differences}; choose another --out or "
                "delete the folder"
            )
        self.outputs_changed = _fingerprint(stored["outputs"]) != _fingerprint(self._config["outputs"])

    def _read_config(self) -> dict[str, JSON] | None:
        """The stored configuration, None in an empty folder."""
        path = self.folder / _CONFIG
        if not path.exists():
            names = {entry.name for entry in _entries(self.folder)}
            if _CONFIG not in names:  # otherwise another process has just begun the run
                if not all(map(_of_a_beginning, names)):
                    raise RunError(
                        f"{self.folder} is not empty and holds no run of advcam; choose another --out or empty it"
                    )
                return None
        try:
            return _checked(parse_json(path.read_bytes()))
        except (ValueError, RecursionError) as error:
            raise RunError(
                f"{path} is damaged or not of this version of advcam ({one_line(error)}); choose another "
                "--out or delete the folder"
            ) from error


def _entries(folder: Place) -> Iterator[Place]:
    """What lies in a folder; a store has no empty ones."""
    try:
        yield from folder.iterdir()
    except FileNotFoundError:
        return


def _of_a_beginning(name: str) -> bool:
    """Whether a file is what a run that was killed at once may have left."""
    return name == _LOCK or name.startswith(PROBE) or name.endswith(PARTIAL)


class OutputNames(Mapping[str, str]):
    """Names of the output files of pictures by their id, without extension: `a/cat` for the picture `a/cat.jpg`.

    Args:
        ids: Ids of samples.
        whole: Those of them that keep their extension.
    """

    def __init__(self, ids: Sequence[str], whole: frozenset[str]) -> None:
        self._ids, self.whole = ids, whole

    def __getitem__(self, id_: str) -> str:
        return id_ if id_ in self.whole else _without_extension(id_)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def output_names(ids: Sequence[str]) -> OutputNames:
    """Names of the output files of pictures, with `/`, each name once; in memory for those that collide alone.

    Pictures whose names would collide (`cat.jpg` and `cat.png`, in any case of letters) keep their full name.

    Args:
        ids: Ids of samples.

    Raises:
        SettingError: An id is absolute or leads out of the folder.
    """
    ids = tuple(dict.fromkeys(ids))
    names = OutputNames(ids, frozenset())
    while True:
        digests = np.fromiter((id_digest(names[id_].lower()) for id_ in ids), np.uint64, len(ids))
        values, counts = np.unique(digests, return_counts=True)
        taken = np.isin(digests, values[counts > 1])
        colliding = {id_ for id_, is_taken in zip(ids, taken, strict=True) if is_taken and names[id_] != id_}
        if not colliding:
            return names
        names = OutputNames(ids, names.whole | colliding)


def _without_extension(id_: str) -> str:
    path = PurePath(id_)
    if not path.name or path.anchor or ".." in path.parts:
        raise SettingError(f"a sample id is a path inside the data set; got {id_!r}")
    return path.with_suffix("").as_posix()


def _config(settings: Mapping[str, Mapping[str, JSON]]) -> dict[str, JSON]:
    if set(settings) != set(_SECTIONS):
        raise SettingError(f"the settings of a run are {' and '.join(_SECTIONS)}; got {', '.join(settings)}")
    try:
        sections = {name: json.loads(_canonical(settings[name])) for name in _SECTIONS}
    except (TypeError, ValueError) as error:
        raise SettingError(f"the settings of a run are JSON values: {one_line(error)}") from error
    fingerprints = {name: _fingerprint(sections[name]) for name in _SECTIONS}
    return {"advcam_run": FORMAT_VERSION, **sections, "fingerprints": fingerprints}


def _checked(config: object) -> dict[str, JSON]:
    """A stored configuration whose version is known and whose sections fit their fingerprints."""
    if not isinstance(config, dict) or "advcam_run" not in config:
        raise ValueError("it holds no settings of a run")
    if config["advcam_run"] != FORMAT_VERSION:
        raise ValueError(f"it has format {config['advcam_run']}, expected {FORMAT_VERSION}")
    if config.get("fingerprints") != {name: _fingerprint(config.get(name)) for name in _SECTIONS}:
        raise ValueError("its settings do not fit their fingerprints")
    return config


def _canonical(value: JSON) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _fingerprint(section: JSON) -> str:
    return hashlib.sha256(_canonical(section).encode()).hexdigest()


def _differences(stored: JSON, current: JSON) -> str:
    """The first settings that differ: `method was "cam", is now "advcam"`."""
    old, new = _flatten(stored), _flatten(current)
    keys = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    named = [f"{key} was {_shorten(old.get(key))}, is now {_shorten(new.get(key))}" for key in keys[:_NAMED_IN_ERROR]]
    return "; ".join(named) + (f"; and {len(keys) - len(named)} more" if len(keys) > len(named) else "")


def _flatten(value: JSON, prefix: str = "") -> dict[str, str]:
    """Canonical JSON of the leaves of nested objects, by dotted key."""
    if isinstance(value, Mapping) and value:
        return {k: v for key, item in value.items() for k, v in _flatten(item, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): _canonical(value)}


def _shorten(text: str | None) -> str:
    if text is None:
        return "absent"
    return text if len(text) <= _VALUE_LENGTH else text[:_VALUE_LENGTH] + ".."
