"""One small cluster on this machine for the tests of a process: starting one takes seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import toy_stages
from ray import cloudpickle

from advcam.scale.ray_engine import RayEngine, RaySettings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that starts clusters in one process, one after the other."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name.startswith(("test_ray", "test_chaos")):
            item.add_marker(pytest.mark.xdist_group("ray"))


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
