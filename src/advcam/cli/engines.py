"""Where the pictures of a command are worked on: in this process, or by the workers of a Ray cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from advcam.errors import SettingError

if TYPE_CHECKING:
    from advcam.pipeline.shards import Engine

_GROUP = Group("Many machines", sort_key=6)


@Parameter(name="*")
@dataclass(frozen=True)
class Engines:
    """Options of the commands that map pictures to something."""

    engine: Annotated[
        Literal["local", "ray"],
        Parameter(
            group=_GROUP, help="Who works on the pictures: this process, or the workers of a Ray cluster (advcam[ray])."
        ),
    ] = "local"
    address: Annotated[
        str | None,
        Parameter(
            group=_GROUP,
            help="With --engine ray: a running cluster, auto or HOST:PORT; one on this machine when left away.",
        ),
    ] = None
    workers: Annotated[
        int | None,
        Parameter(group=_GROUP, help="With --engine ray: most workers; as many as there is room for when left away."),
    ] = None
    worker_cpus: Annotated[
        int | None, Parameter(group=_GROUP, help="With --engine ray: cores of a worker; 1 when left away.")
    ] = None
    worker_gpus: Annotated[
        float | None,
        Parameter(
            group=_GROUP, help="With --engine ray: GPUs of a worker, 0.5 where two share one; 1 with --device cuda."
        ),
    ] = None


@contextmanager
def opened(options: Engines | None, device: str) -> Iterator["Engine | None"]:
    """The engine that the options name, while the block lasts; None: this process.

    Args:
        options: None: nothing was said.
        device: Of the network.

    Raises:
        AdvcamError: The options do not go together, or the cluster is not there.
    """
    options = options or Engines()
    if options.engine == "local":
        given = [n for n in ("address", "workers", "worker_cpus", "worker_gpus") if getattr(options, n) is not None]
        if given:
            raise SettingError(f"--{given[0].replace('_', '-')} is for --engine ray; add it, or leave the option away")
        yield None
        return
    from advcam.scale.ray_engine import RaySettings, ray_engine

    gpus = options.worker_gpus if options.worker_gpus is not None else float(device.startswith("cuda"))
    settings = RaySettings(options.address, options.workers, options.worker_cpus or 1, gpus)
    with ray_engine(settings) as engine:
        yield engine
