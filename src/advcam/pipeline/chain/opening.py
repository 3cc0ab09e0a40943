"""Before a chain: its pictures drawn where a recipe asks for it, maps that are given, and the run directory locked."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import RunError, one_line
from advcam.pipeline.chain.recipe_file import RECIPE, is_kept_recipe
from advcam.pipeline.chain.settings import GeneratedData
from advcam.pipeline.chain.stage import digest
from advcam.store.files import PARTIAL, remove_leftovers, try_lock
from advcam.store.maps import MapStore
from advcam.store.session import session


def draw_pictures(generated: GeneratedData, root: Path) -> None:
    """Draw a data set beside its place, then put it there: it is whole or absent, whenever this is killed."""
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as temporary:
            write_dataset(generated.layout, Path(temporary) / "data", generated.pictures, generated.seed)
            (Path(temporary) / "data").rename(root)
    except OSError as error:
        raise RunError(f"cannot draw the pictures of {root} ({error.strerror}); choose another data.root") from error


def maps_digest(run: Path) -> str:
    """Equal where two runs of `advcam localize` have the same maps.

    Raises:
        RunError: The folder is no run of `advcam localize`.
    """
    config = run / "config.json"
    if not config.is_file():
        raise RunError(f"{run} is no run of advcam localize: it has no config.json; name its --out")
    try:
        fingerprint = json.loads(config.read_bytes())["fingerprints"]["maps"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{config} is damaged ({one_line(error)}); localize again in another folder") from error
    return digest([fingerprint, MapStore(run / "maps").index().digest()])


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """The run directory for this process alone.

    Raises:
        RunError: Another process holds it, it cannot be written, or is no run of a recipe.
    """
    if out.is_file():
        raise RunError(f"{out} is a file; choose another --out, a run takes a folder")
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    # A run that was killed at once left its lock, and perhaps the beginning of its recipe.
    begun = {name for name in held if name == ".lock" or name.endswith(PARTIAL)}
    if held - begun and not is_kept_recipe(out / RECIPE):
        raise RunError(f"{out} is not empty and no run of a recipe; choose another --out or empty it")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("ab")
    except OSError as error:
        raise RunError(f"cannot write to {out} ({error.strerror}); choose another --out") from error
    with lock:
        if not try_lock(lock):
            raise RunError(f"another process is working in {out}; wait for it or choose another --out")
        with session(out) as died:
            if died:
                remove_leftovers(out, everywhere=True)
            yield
