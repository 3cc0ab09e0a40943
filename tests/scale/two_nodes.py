"""A run on two nodes, one of which dies in the middle; prints what became of it."""

import sys
from pathlib import Path

import ray
import toy_stages
from ray import cloudpickle
from ray.cluster_utils import Cluster
from toy_stages import Marking, shards

from advcam.pipeline.shards import Unheard
from advcam.scale.ray_engine import RayEngine, RaySettings


def say(words: str) -> None:
    sys.stdout.write(words + "\n")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    cloudpickle.register_pickle_by_value(toy_stages)
    memory = {"object_store_memory": 100 * 1024**2}
    # Connected while there is one node, so that the driver is not on the one that dies.
    first = {"num_cpus": 1, "include_dashboard": False, **memory}
    cluster = Cluster(initialize_head=True, connect=True, head_node_args=first)
    second = cluster.add_node(num_cpus=1, **memory)
    cluster.wait_for_nodes()
    say(f"nodes: {len(ray.nodes())}")
    done, nodes = [], set()
    for result in RayEngine(RaySettings(workers=2)).map(Marking(folder, seconds=0.1), shards(60, 3), Unheard()):
        done += result.done
        nodes.add(result.answer["node"])
        if len(nodes) == 2 and second is not None:
            cluster.remove_node(second, allow_graceful=False)
            second = None
    say(f"nodes that worked: {len(nodes)}")
    say(f"pictures: {len(done)}")
    say(f"different: {len(set(done))}")
    say(f"nodes left: {sum(node['Alive'] for node in ray.nodes())}")
    ray.shutdown()
    cluster.shutdown()
