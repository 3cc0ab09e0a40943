"""Several processes of one launch on this machine (gloo), without the seconds that torchrun takes to start."""

import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable
from typing import Any


def launched(processes: int, work: Callable[..., Any], *arguments: object) -> list[Any]:
    """What each process of a launch returns, in their order.

    Args:
        processes: How many; they find each other as those of torchrun do.
        work: A function of a module, called by each.
        arguments: Of the function.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["advcam.training.loop", "advcam.segment.segmenter", "advcam.pipeline.chain.irn"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results: Any = server.Queue()
    started = [
        server.Process(target=_one, args=(rank, processes, port, results, work, arguments)) for rank in range(processes)
    ]
    for process in started:
        process.start()
    found = dict(pickle.loads(results.get(timeout=300)) for _ in started)
    for process in started:
        process.join(timeout=30)
        assert process.exitcode == 0
    failed = [text for good, text in found.values() if not good]
    assert not failed, failed[0]
    return [found[rank][1] for rank in range(processes)]


def _one(rank: int, processes: int, port: int, results: Any, work: Callable[..., Any], arguments: Any) -> None:
    import torch

    torch.set_num_threads(1)
    if processes > 1:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
    try:
        found = (True, work(*arguments))
    except BaseException:  # noqa: BLE001, the test tells it
        found = (False, traceback.format_exc())
    results.put(pickle.dumps((rank, found)))  # as bytes: tensors would be shared with a process that is about to end
