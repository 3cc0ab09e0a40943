"""The random walk of IRN: products with shifted views against the published dense matrix power.

    python benchmarks/random_walk.py             about a minute on 2 cores
    python benchmarks/random_walk.py --full      all 8 squarings of the dense matrix (26 TFLOP, 2 GB): several minutes

No data is needed: boundaries and maps are smooth noise with sharp lines, on the grid of stride 4. The dense side builds
A, powers it element by element, divides by the sums of columns and squares it 8 times, in float32, as the published
code does on its own padded grid, which is larger. Without `--full` one squaring is timed and counted 8 times. Peak
memory is that of a fresh process (Linux): the high-water mark during its first walk, minus what was resident before.

The last line printed is JSON. `max_abs_diff`: between the walk in float32 and a dense power in float64, on a small
picture; `max_abs_diff_500x375`: between the walk and 256 plain products with a sparse matrix in float64. `time_ratio`:
dense / walk at 500 x 375 with 3 classes. `peak_mb`, `peak_mb_640`: of the walk.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from advcam.refine.irn.pairs import affinities, pair_views
from advcam.refine.irn.walk import random_walk, start_maps

SMALL, VOC, COCO = (96, 128), (375, 500), (640, 640)
SQUARINGS, BETA, RADIUS, CLASSES = 8, 10.0, 5, 3


def scene(size: tuple[int, int], classes: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Start maps (C, h, w) and boundary (h, w) of an invented picture of (H, W) pixels."""
    generator = torch.Generator().manual_seed(0)
    grid = [-(-side // 4) for side in size]
    coarse = torch.randn(1, classes + 1, 8, 8, generator=generator)
    fields = functional.interpolate(coarse, size=grid, mode="bicubic", align_corners=False)[0]
    noise = torch.randn(grid, generator=generator)
    # Lines where a smooth field changes its sign, weak and noisy elsewhere: as edges of a trained network look.
    boundary = torch.sigmoid(4 - 40 * fields[0].abs() + 0.7 * noise)
    maps = (fields[1:] / fields[1:].amax(dim=(1, 2), keepdim=True)).clamp(min=0)
    return start_maps(maps, boundary).to(device), boundary.to(device)


def dense_transition(boundary: Tensor) -> Tensor:
    """T as a dense hw x hw matrix, in the type of the boundary."""
    positions = torch.arange(boundary.numel(), device=boundary.device).view(boundary.shape)
    matrix = torch.eye(boundary.numel(), dtype=boundary.dtype, device=boundary.device)
    for offset, a in affinities(boundary[None], RADIUS):
        i, j = (view.flatten() for view in pair_views(positions, offset))
        matrix[i, j] = matrix[j, i] = a.flatten() ** BETA
    return matrix.div_(matrix.sum(dim=0, keepdim=True))


def dense_walk(start: Tensor, boundary: Tensor) -> Tensor:
    """The published way."""
    matrix = dense_transition(boundary)
    for _ in range(SQUARINGS):
        matrix = matrix @ matrix
    return (start.flatten(1) @ matrix).view_as(start)


def iterated_walk(start: Tensor, boundary: Tensor) -> Tensor:
    """256 products with T as a sparse matrix."""
    positions = torch.arange(boundary.numel()).view(boundary.shape)
    rows, columns, values = [positions.flatten()], [positions.flatten()], [torch.ones_like(boundary).flatten()]
    for offset, a in affinities(boundary[None], RADIUS):
        i, j = (view.flatten() for view in pair_views(positions, offset))
        rows, columns, values = [*rows, i, j], [*columns, j, i], [*values, *2 * [a.flatten() ** BETA]]
    entries = torch.stack([torch.cat(rows), torch.cat(columns)])
    size = 2 * [boundary.numel()]
    matrix = torch.sparse_coo_tensor(entries, torch.cat(values), size, check_invariants=True).coalesce()
    total = torch.sparse.sum(matrix, dim=0).to_dense()[:, None]
    walked = start.flatten(1).T
    for _ in range(2**SQUARINGS):
        # A is symmetric: the row vector v A is the column A v.
        walked = (matrix @ walked) / total
    return walked.T.reshape(start.shape)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, the device's queue included."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def walk_seconds(size: tuple[int, int], classes: int, device: str, rounds: int = 5) -> float:
    """Median time of a walk after a warm-up."""
    start, boundary = scene(size, classes, device)
    random_walk(start, boundary)
    return statistics.median(seconds(lambda: random_walk(start, boundary)) for _ in range(rounds))


def dense_seconds(device: str, full: bool) -> tuple[float, float | None]:
    """Time of the dense side at 500 x 375, and its difference to the walk if all of it was run."""
    start, boundary = scene(VOC, CLASSES, device)
    if full:
        found: list[Tensor] = []
        taken = seconds(lambda: found.append(dense_walk(start, boundary)))
        return taken, (found[0] - random_walk(start, boundary)).abs().max().item()
    matrix: list[Tensor] = []
    building = seconds(lambda: matrix.append(dense_transition(boundary)))
    return building + SQUARINGS * seconds(lambda: matrix[0] @ matrix[0]), None


def difference(size: tuple[int, int], reference: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Largest difference of the walk in float32 to another one in float64."""
    start, boundary = scene(size, CLASSES)
    exact = reference(start.double(), boundary.double())
    return (random_walk(start, boundary).double() - exact).abs().max().item()


def peak_mb(size: tuple[int, int]) -> float:
    """Peak of a walk in a fresh process."""
    command = [sys.executable, __file__, "--peak", *map(str, size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_peak(size: tuple[int, int]) -> float:
    """Growth of this process during its first walk, MB: high-water mark after it minus resident size before."""
    start, boundary = scene(size, CLASSES)
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark to the resident size
    before = _status("VmRSS")
    random_walk(start, boundary)
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """A line of this process's status, kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all squarings of the dense matrix at 500 x 375")
    parser.add_argument("--device", default="cpu", help="of the times; memory is the CPU's")
    parser.add_argument("--peak", type=int, nargs=2, metavar=("H", "W"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(measure_peak(tuple(arguments.peak)))
        return
    memory = {size: peak_mb(size) for size in (VOC, COCO)}
    times = {
        (size, classes): walk_seconds(size, classes, arguments.device) for size in (VOC, COCO) for classes in (1, 3, 8)
    }
    dense, dense_difference = dense_seconds(arguments.device, arguments.full)
    again = walk_seconds(VOC, CLASSES, arguments.device)
    print("   picture   nodes   1 class  3 classes 8 classes   peak  dense matrix")
    for size in (VOC, COCO):
        nodes = scene(size, 1)[1].numel()
        row = " ".join(f"{1000 * times[size, classes]:6.0f} ms" for classes in (1, 3, 8))
        print(f"{size[1]:>4} x {size[0]} {nodes:>7} {row} {memory[size]:5.0f} MB {4 * nodes**2 / 1e6:10.0f} MB")
    print(f"dense, 500 x 375: {dense:.1f} s" + ("" if arguments.full else " (one squaring measured, counted 8 times)"))
    found = {
        "max_abs_diff": difference(SMALL, dense_walk),
        "max_abs_diff_500x375": difference(VOC, iterated_walk),
        "max_abs_diff_500x375_dense_float32": dense_difference,
        "time_ratio": dense / statistics.mean([times[VOC, CLASSES], again]),
        "sparse_ms": 1000 * times[VOC, CLASSES],
        "dense_s": dense,
        "peak_mb": memory[VOC],
        "peak_mb_640": memory[COCO],
        "device": arguments.device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
