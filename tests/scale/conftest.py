"""One small cluster on this machine for the tests of a process: starting one takes seconds."""

from collections.abc import Iterator

import pytest
import ray
import toy_stages
from ray import cloudpickle

from advcam.scale.ray_engine import RayEngine, RaySettings


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayEngine]:
    """An engine with two actors of a core each."""
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=128 * 1024**2,
        log_to_driver=False,
        logging_level="error",
    )
    cloudpickle.register_pickle_by_value(toy_stages)  # the actors cannot import a module of the tests
    yield RayEngine(RaySettings(workers=2))
    ray.shutdown()
