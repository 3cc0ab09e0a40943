"""How fast the climb is: the published loop against the engine on the same network, pictures, T and scales.

    python benchmarks/climb.py --quick                          under a minute on 2 cores: the ratio alone
    python benchmarks/climb.py --out climb                      everything, on the CPU (about 20 minutes)
    python benchmarks/climb.py --out climb --device cuda        everything, on a GPU

The network is a ResNet-50 with output stride 16 and 20 classes, random weights (speed does not depend on them); the
pictures are scikit-image's astronaut, resized. Both sides run in turn, A B A B, and the medians are compared. Writes
climb.json, climb.md and climb.png. The last line printed is JSON; `ratio` = published loop / engine at equal T and
scales.
"""

import argparse
import copy
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import skimage.data
import timm
import torch
from climb_plots import table, write_plot
from PIL import Image
from published_loop import PublishedLoop
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import advcam

TRAIN_AUG, CLASSES_EACH = 10_582, 1.5
PAPER_SCALES, PAPER_T = (0.5, 1.0, 1.5, 2.0), 27

Row = dict[str, Any]


def network(device: str) -> advcam.Classifier:
    """ResNet-50, output stride 16, 20 classes."""
    torch.manual_seed(0)
    module = timm.create_model("resnet50", pretrained=False, num_classes=20, output_stride=16)
    return advcam.Classifier.from_module(module.to(device).eval(), name="resnet50")


def published(classifier: advcam.Classifier) -> PublishedLoop:
    """The loop on the same network, in a copy, since it leaves hooks."""
    module = copy.deepcopy(classifier.module)
    head = module.get_submodule("fc")
    assert isinstance(head, nn.Linear)
    return PublishedLoop(module, module.get_submodule("layer4"), head, classifier.device)


def pictures(count: int, size: tuple[int, int]) -> list[Image.Image]:
    """So many pictures of (width, height)."""
    photograph = Image.fromarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]
    return [photograph.resize(size, Image.Resampling.BICUBIC)] * count


def engine(classifier: advcam.Classifier, scales: Sequence[float], iterations: int, **more: object) -> advcam.AdvCAM:
    """The engine with as many steps at every scale, with flips and without a limit of size, as the loop has them."""
    even: dict[str, object] = {"iterations": iterations, "small_iterations": iterations, "flip": True, "max_side": 0}
    return advcam.AdvCAM(classifier, scales=scales, **(even | more))  # type: ignore[arg-type]


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, the device's queue included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def in_turn(
    works: Sequence[Callable[[], object]],
    device: torch.device,
    rounds: int,
    warm_up: Sequence[Callable[[], object]] | None = None,
) -> list[float]:
    """Median seconds of each, one after the other in every round, after a warm-up (all of them if not given)."""
    for work in works if warm_up is None else warm_up:
        work()
    times = [[seconds(work, device) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def against_the_loop(climb: advcam.AdvCAM, size: tuple[int, int], t: int, rounds: int) -> Row:
    """The published loop on one picture against the engine, which gets as many as fill its batches on a GPU."""
    classifier = climb.classifier
    assert isinstance(classifier, advcam.Classifier)
    count, loop = (1 if classifier.device.type == "cpu" else 32), published(classifier)
    many, scales = pictures(count, size), climb.scales
    works: list[Callable[[], object]] = [partial(loop, many[0], [3], scales, t), partial(climb, many, [[3]] * count)]
    # The loop's first pass is no slower than its others, and whole runs of it are long.
    first: list[Callable[[], object]] = [partial(loop, many[0], [3], (0.5,), 1), works[1]]
    slow, fast = in_turn(works, classifier.device, rounds, first)
    words = {"size": size, "T": t, "scales": scales, "precision": climb.precision}
    return {**words, "published_s": slow, "engine_s": fast / count, "ratio": slow * count / fast}


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product."""
    side = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    repeats = 3 if device.type == "cpu" else 50
    taken = in_turn([lambda: [a @ b for _ in range(repeats)]], device, 5)[0]
    return 2 * side**3 * repeats / taken


def utilisation(classifier: advcam.Classifier, size: tuple[int, int]) -> list[Row]:
    """Achieved FLOP/s of the climb against a matrix product in the same precision on the same device."""
    count, rows = (1 if classifier.device.type == "cpu" else 32), []
    many = pictures(count, size)
    for precision in ("float32", "bfloat16"):
        climb = engine(classifier, (1.0,), 4, precision=precision)
        with FlopCounterMode(display=False) as counter:
            climb(many, [[3]] * count)
        taken = in_turn([partial(climb, many, [[3]] * count)], classifier.device, 3)[0]
        achieved = counter.get_total_flops() / taken
        top = peak(classifier.device, getattr(torch, precision))
        rows.append({"precision": precision, "flops": achieved, "matmul_flops": top, "share": achieved / top})
    return rows


def throughput(classifier: advcam.Classifier) -> list[Row]:
    """Pictures a second over batch size, picture size, number of classes and T, one at a time."""
    gpu = classifier.device.type != "cpu"
    base: Row = {"batch": 1, "size": (250, 188), "classes": 1, "T": 4}
    sweeps: dict[str, Sequence[Any]] = {
        "batch": (1, 4, 16, 64, 128) if gpu else (1, 2, 4, 8),
        "size": ((125, 94), (250, 188), (500, 375), (1000, 750)),
        "classes": (1, 2, 4, 8),
        "T": (1, 2, 4, 8, 16),
    }
    rows = []
    for name, values in sweeps.items():
        for value in values:
            case = base | ({"batch": 64} if gpu and name != "batch" else {}) | {name: value}
            count = max(1, case["batch"] // case["classes"])
            climb = engine(classifier, (1.0,), case["T"], batch_size=case["batch"])
            many, classes = pictures(count, case["size"]), [list(range(case["classes"]))] * count
            taken = in_turn([partial(climb, many, classes)], classifier.device, 2)[0]
            rows.append({"varied": name, **case, "pictures_per_s": count / taken})
    return rows


def memory(classifier: advcam.Classifier, size: tuple[int, int]) -> Row:
    """Peak memory of the engine and then of the loop: of the GPU, or the high-water mark of the process."""
    climb, loop = engine(classifier, (2.0,), 1), published(classifier)
    (picture,) = pictures(1, size)
    works: dict[str, Callable[[], object]] = {
        "engine_gb": partial(climb, [picture], [[3]]),
        "published_gb": partial(loop, picture, [3], (2.0,), 2),
    }
    found = {}
    for name, work in works.items():
        if classifier.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        work()
        gpu = classifier.device.type == "cuda"
        used = torch.cuda.max_memory_allocated() if gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found[name] = used / 1e9
    return {"size": size, "scale": 2.0, **found}


def many_pictures(classifier: advcam.Classifier) -> list[Row]:
    """Time and memory against the number of pictures, in calls of 8 of 8 sizes, before anything larger has run."""
    rows, climb = [], engine(classifier, (1.0,), 1)

    def run(calls: int) -> None:
        for _ in range(calls):
            climb([pictures(1, (250 - 8 * k, 188 + 4 * k))[0] for k in range(8)], [[3]] * 8)

    for calls in (1, 2, 4, 8):
        taken = seconds(partial(run, calls), classifier.device)
        used = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9
        rows.append({"pictures": 8 * calls, "seconds": taken, "peak_gb": used})
    return rows


def plain(classifier: advcam.Classifier, size: tuple[int, int], rounds: int) -> list[Row]:
    """Plain CAM and Grad-CAM against a bare forward pass, pytorch-grad-cam and captum at an equal batch, float32."""
    from captum.attr import LayerGradCam

    batch = 8 if classifier.device.type == "cpu" else 64
    many, targets = pictures(batch, size), [[3]] * batch
    module, layer = classifier.module, classifier.module.get_submodule("layer4")
    inputs = torch.randn(batch, 3, size[1], size[0], device=classifier.device)
    shared: Row = {"scales": (1.0,), "flip": False, "max_side": 0, "batch_size": batch}
    ours = {
        f"{name} of advcam, {precision}": kind(classifier, precision=precision, **shared)
        for precision in ("float32", "auto")
        for name, kind in (("CAM", advcam.CAM), ("Grad-CAM", advcam.GradCAM))
    }
    works: dict[str, Callable[[], object]] = {name: partial(method, many, targets) for name, method in ours.items()}
    fast = classifier.prepared("float32")
    works["bare forward pass, prepared, float32"] = lambda: _forward(fast.module, inputs)
    works["bare forward pass, as made"] = lambda: _forward(module, inputs)
    works["Grad-CAM of captum"] = lambda: LayerGradCam(module, layer).attribute(inputs, target=3)
    works |= _grad_cam(module, layer, inputs)
    taken = in_turn(list(works.values()), classifier.device, rounds)
    return [{"what": name, "ms_per_picture": 1000 * s / batch} for name, s in zip(works, taken, strict=True)]


def _forward(module: nn.Module, inputs: torch.Tensor) -> None:
    with torch.no_grad():
        module(inputs.contiguous(memory_format=torch.channels_last))


def _grad_cam(module: nn.Module, layer: nn.Module, inputs: torch.Tensor) -> dict[str, Callable[[], object]]:
    """pytorch-grad-cam (pip install grad-cam), if it is there."""
    try:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError:
        print("pytorch-grad-cam is not installed (pip install grad-cam); it is left out")
        return {}
    theirs = GradCAM(model=module, target_layers=[layer])
    return {"Grad-CAM of pytorch-grad-cam": lambda: theirs(inputs, [ClassifierOutputTarget(3)] * len(inputs))}


def projection(classifier: advcam.Classifier) -> list[Row]:
    """Hours for VOC train_aug, from pictures of 500 x 375; not run."""
    count, rows = (1 if classifier.device.type == "cpu" else 16), []
    many = pictures(count, (500, 375))
    for name, method, share in (
        ("T = 27, four scales, flips", engine(classifier, PAPER_SCALES, 3), (2 * PAPER_T + 1) / 7),
        ("effort balanced", advcam.AdvCAM(classifier), 1.0),
        ("effort fast", advcam.AdvCAM(classifier, effort="fast"), 1.0),
    ):
        taken = in_turn([partial(method, many, [[3]] * count)], classifier.device, 1)[0] * share / count
        rows.append({"what": name, "seconds_each": taken, "hours": taken * TRAIN_AUG * CLASSES_EACH / 3600})
    return rows


def hardware(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {torch.get_num_threads()} threads"


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("climb"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", help="sections, such as balanced or throughput")
    arguments = parser.parse_args()
    classifier = network(arguments.device)
    facts: Row = {"device": hardware(classifier.device), "torch": torch.__version__, "network": "ResNet-50, stride 16"}
    if arguments.quick:
        print(json.dumps(facts | against_the_loop(engine(classifier, (1.0,), 6), (500, 375), 6, 1)))
        return
    balanced = advcam.AdvCAM(classifier, effort="balanced", max_side=0)
    sections: dict[str, Callable[[], list[Row]]] = {
        "many pictures": lambda: many_pictures(classifier),
        "memory": lambda: [memory(classifier, (500, 375))],
        "equal T and scales": lambda: [against_the_loop(engine(classifier, PAPER_SCALES, 9), (500, 375), 9, 1)],
        # Its own T and scales, which the loop takes with flips and as many steps at half size.
        "balanced": lambda: [against_the_loop(balanced, (500, 375), balanced.settings.iterations, 1)],
        "utilisation": lambda: utilisation(classifier, (500, 375)),
        "throughput": lambda: throughput(classifier),
        "plain": lambda: plain(classifier, (500, 375), 2),
        "projection": lambda: projection(classifier),
    }
    found: Row = facts | {name: section() for name, section in sections.items() if name in (arguments.only or sections)}
    if "equal T and scales" in found:
        found["ratio"] = found["equal T and scales"][0]["ratio"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "climb.json").write_text(json.dumps(found, indent=1))
    (arguments.out / "climb.md").write_text(table(found))
    if arguments.only is None:
        write_plot(arguments.out / "climb.png", found)
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
