"""The engine that brings shards to the machines of a Ray cluster.

A pipeline of Ray Data over the shards of a run: an actor loads the stage once, and shards come to it as it is free. The
pool of actors takes the room that the cluster has, grows with it up to a limit, and shrinks where nothing waits; shards
stay with the driver until an actor is near. While the device works on one picture, threads of the actor decode the next
ones and write the last.

An actor that dies is replaced, and its shard is done again. A shard at which an actor died is done carefully: pictures
are decoded in processes of their own, and a ledger hears which one is worked at (see `advcam.scale.ledger`).
"""

import logging
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from advcam.errors import RunError, SettingError, one_line
from advcam.pipeline.operations.shutdown import handlers_kept
from advcam.pipeline.shards import Shard, ShardResult, ShardTask, Told
from advcam.scale.actors import ShardActor, packed, unpacked
from advcam.scale.ledger import Ledger

#: Shards that an actor has at hand, so that it need not wait for the next one.
AT_HAND = 2
#: Seconds that a cluster has to answer, and the number of the standard error.
_KNOCK, _STDERR = 5.0, 2
#: Of the shared memory of a cluster on this machine: shards and results are small.
_SHARED_MEMORY = 256 * 1024**2
#: Ray is not to phone home, to leave the environment of actors without a GPU alone, and to say what is wrong only.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS": "0",
}


@dataclass(frozen=True)
class RaySettings:
    """How a cluster is used.

    Args:
        address: Of a running cluster: "auto" or HOST:PORT; None starts one on this machine, for as long as it is used.
        workers: Actors at most; None: as many as there is room for.
        cpus: Cores of an actor.
        gpus: GPUs of an actor; a part of one where several share it.
    """

    address: str | None = None
    workers: int | None = None
    cpus: int = 1
    gpus: float = 0.0


@contextmanager
def ray_engine(settings: RaySettings) -> Iterator["RayEngine"]:
    """An engine on a cluster, while the block lasts; the cluster is joined when there is something to do.

    Raises:
        SettingError: Ray is not installed, or the settings are out of range.
    """
    if find_spec("ray") is None:
        raise SettingError("--engine ray needs the package ray, which is not installed: pip install 'advcam[ray]'")
    if (settings.workers is not None and settings.workers < 1) or settings.cpus < 1 or settings.gpus < 0:
        raise SettingError("workers and their cores (--workers, --worker-cpus) are 1 or more, their GPUs not negative")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    engine = RayEngine(settings)
    try:
        yield engine
    finally:
        engine.close()


def _connect(settings: RaySettings) -> None:
    import ray

    local: dict[str, Any] = {
        "num_cpus": max(os.cpu_count() or 1, (settings.workers or 1) * settings.cpus),
        "object_store_memory": _SHARED_MEMORY,
        "include_dashboard": False,
    }
    try:
        _knock(settings.address or "")
        with handlers_kept(), _core_unheard():  # Ray would leave by sys.exit at a SIGTERM
            ray.init(
                settings.address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if settings.address else local),
            )
    except (ConnectionError, RuntimeError, OSError, ValueError, TimeoutError) as error:
        raise RunError(
            f"no Ray cluster at {settings.address or 'this machine'} ({one_line(error)}); start one by ray start "
            "--head, or leave --address away"
        ) from error
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if settings.address is None and there.get("GPU", 0) < settings.gpus:
        raise RunError(f"this machine has no {settings.gpus:g} GPUs for a worker; leave --worker-gpus away")


def _knock(address: str) -> None:
    """Whether somebody listens at HOST:PORT: Ray itself would ask for minutes.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), _KNOCK).close()


@contextmanager
def _core_unheard() -> Iterator[None]:
    """Without the lines in which Ray's core tells how its log is set; what is wrong it raises as well."""
    before, nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(before, _STDERR)
        os.close(before)
        os.close(nowhere)


class RayEngine:
    """Works on shards in actors of a cluster; see `advcam.pipeline.shards.Engine`.

    Args:
        settings: How the cluster is used.
    """

    remote = True

    def __init__(self, settings: RaySettings) -> None:
        self.settings, self._joined = settings, False

    def close(self) -> None:
        """Leave the cluster; one that was started for this engine ends."""
        if self._joined:
            import ray

            ray.shutdown()
            self._joined = False

    def map(self, task: ShardTask, shards: Iterable[Shard], told: Told) -> Iterator[ShardResult]:
        """See `Engine.map`.

        Raises:
            RunError: The cluster cannot be reached, or is gone.
        """
        from ray.exceptions import RayError

        waiting = [packed(shard) for shard in shards]
        if not waiting:
            return
        self._join()
        try:
            for row in self._pipeline(packed(task), waiting).iter_rows():
                result: ShardResult = unpacked(row["result"])
                for id_ in result.done:
                    told.picture_done(id_)
                for id_, reason in result.skipped:
                    told.picture_skipped(id_, reason)
                yield result
        except RayError as error:
            raise RunError(f"the Ray cluster gave up ({_cause(error)}); the same command goes on") from error

    def _join(self) -> None:
        import ray

        if not ray.is_initialized():
            _connect(self.settings)
            self._joined = True

    def _pipeline(self, task: bytes, waiting: list[bytes]) -> Any:  # noqa: ANN401, a ray.data.Dataset
        """Results of packed shards as a data set that is computed while it is read."""
        import ray
        import ray.data
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        settings = self.settings
        # On the driver's machine: with that one all ends anyway.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        ledger = ray.remote(Ledger).options(**options, scheduling_strategy=here).remote()
        room = self._room(len(waiting))
        pool = ray.data.ActorPoolStrategy(
            min_size=1, initial_size=room, max_size=settings.workers, max_tasks_in_flight_per_actor=AT_HAND
        )
        # Blocks are what actors are handed: a shard each.
        blocks = [pa.table({"shard": pa.array([shard], pa.binary())}) for shard in waiting]
        return ray.data.from_blocks(blocks).map_batches(
            ShardActor,
            fn_constructor_args=(task, ledger, str(Path.cwd())),
            batch_size=1,
            batch_format="numpy",
            compute=pool,
            num_cpus=settings.cpus,
            num_gpus=settings.gpus,
        )

    def _room(self, shards: int) -> int:
        """Actors to begin with: as many as the cluster has room for now, not more than there are shards."""
        import ray

        there: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
        fit = int(there.get("CPU", 1) // self.settings.cpus)
        if self.settings.gpus:
            fit = min(fit, int(there.get("GPU", 0) // self.settings.gpus))
        return max(1, min(fit, shards, self.settings.workers or fit))


def _cause(error: BaseException) -> str:
    """What happened first, without Ray's colours: its own words tell where it happened."""
    while (before := getattr(error, "cause", None) or error.__cause__) is not None:
        error = before
    return f"{type(error).__name__}: {re.sub(chr(27) + r'.[0-9;]*m', '', one_line(error))}"
