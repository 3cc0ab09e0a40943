"""What `advcam size` stands on, measured on this machine, and its tables for five sizes of data set.

    OMP_NUM_THREADS=1 python benchmarks/sizing.py ROOT
    OMP_NUM_THREADS=1 python benchmarks/sizing.py --plot sizing.png

ROOT is a data set in a layout that advcam knows, such as VOC 2012; its pictures are explained by the embedded network
for as many classes as they have labels. Without it the photographs of scikit-image serve, one class each. Seconds are
those of the processor, on one thread, brought to a picture of 375 x 500 by its area; so other work on the machine
counts little. What was measured is written to `--figures` (JSON); with that file already there nothing is measured
anew. Then come the tables, for workers of one core like this one, and for GPUs of an ASSUMED speed (`--gpu-passes`).
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sizing_tables import plot, size_table, stage_table, trouble_table
from torch import Tensor

from advcam.attribution.advcam import AdvCAM
from advcam.attribution.precision import resolve
from advcam.classifiers.catalogue import load_classifier
from advcam.classifiers.classifier import Classifier
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.pictures import find_pictures, read_picture
from advcam.pipeline.chain.irn import IrnObjective
from advcam.pipeline.chain.refining import AffinityRefiner, CrfRefiner, Refiner, with_scores
from advcam.pipeline.chain.settings import AffinityRefinement, CrfRefinement, IrnRefinement
from advcam.pipeline.chain.stage import PASS_PIXELS
from advcam.pipeline.demo import write_photographs
from advcam.pipeline.targets import evenly, samples_of
from advcam.refine.irn.labels import confident_labels
from advcam.refine.irn.network import IRNetwork
from advcam.refine.irn.walk import refine_maps
from advcam.scale.demand import Figures
from advcam.segment.inference import InferenceSettings, predict
from advcam.segment.network import NetworkSettings, create_network
from advcam.segment.settings import SegmenterSettings
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.masks import write_mask
from advcam.training.settings import ClassifierSettings
from advcam.types import Attribution, FloatArray, Sample

Result = TypeVar("Result")
_STEP = 4  # pictures of a step that is timed
Pictures = list[tuple[Sample, Image.Image, list[int]]]


def timed(function: Callable[..., Result], *arguments: Any) -> tuple[float, Result]:  # noqa: ANN401, the function's own
    """Processor seconds of all threads, and what came out."""
    started = time.process_time()
    result = function(*arguments)
    return time.process_time() - started, result


def chosen(root: Path | None, split: str, count: int, folder: Path) -> list[Sample]:
    """Pictures with labels, spread evenly."""
    if root is None:
        write_photographs(folder)
        return find_pictures([folder])
    return evenly(samples_of(open_dataset(root), split, root), count)


def area(picture: Image.Image) -> float:
    """Times 375 x 500."""
    return picture.width * picture.height / PASS_PIXELS


def explain(classifier: Classifier, pictures: Pictures) -> tuple[list[float], list[Attribution], float]:
    """Seconds of the climb of each picture, its maps, and seconds of a pass by them."""
    method = AdvCAM(classifier)
    method([pictures[0][1]], [pictures[0][2][:1]])  # warm up
    seconds, maps, passes = [], [], 0.0
    for _, picture, classes in pictures:
        took, (attribution,) = timed(method, [picture], [classes])
        seconds.append(took)
        maps.append(attribution)
        passes += method.cost([len(classes)]).passes * area(picture)
    return seconds, maps, sum(seconds) / passes


def forward_seconds(classifier: Classifier) -> float:
    """A pass alone, there: to compare with the passes of a climb."""
    network, inputs = classifier.prepared(), torch.zeros((1, 3, 375, 500))
    with torch.no_grad():
        return statistics.median(timed(network.respond, inputs)[0] for _ in range(4))


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stored(rows: Sequence[tuple[Sample, Attribution]], folder: Path) -> tuple[float, float]:
    """Seconds a picture and bytes a class of a map store."""
    held = [StoredMaps(one.id, 0, maps) for one, maps in rows]
    seconds, _ = timed(lambda: MapStore(folder).write(held, 0, len(held) - 1))
    return seconds / len(rows), folder_bytes(folder) / sum(len(maps.class_ids) for _, maps in rows)


def outputs(pictures: Pictures, maps: Sequence[Attribution], folder: Path) -> dict[str, float]:
    """Seconds and bytes of masks, overlays and map store."""
    (folder / "overlays").mkdir(parents=True)

    def write(count: int) -> None:
        for number, ((_, picture, _), attribution) in enumerate(zip(pictures[:count], maps[:count], strict=True)):
            mask = np.minimum(attribution.label_mask(), 254)
            write_mask(folder / "masks" / f"{number}.png", mask)
            attribution.overlay(picture).save(folder / "overlays" / f"{number}.jpg", quality=90)

    write(1)  # the first makes ready what later ones use
    seconds, _ = timed(write, len(pictures))
    areas = sum(area(picture) for _, picture, _ in pictures)
    rows = [(sample, attribution) for (sample, _, _), attribution in zip(pictures, maps, strict=True)]
    store_seconds, map_bytes = stored(rows, folder / "maps")
    return {
        "output_seconds": seconds / areas + store_seconds,
        "mask_bytes": folder_bytes(folder / "masks") / areas,
        "overlay_bytes": folder_bytes(folder / "overlays") / areas,
        "map_bytes": map_bytes * len(pictures) / areas,
    }


def refinements(
    classifier: Classifier, pictures: Pictures, maps: Sequence[Attribution], folder: Path
) -> dict[str, float]:
    """Seconds and bytes of the refinements; IRN's network has random weights, which its speed does not depend on."""
    torch.manual_seed(0)
    network, settings = IRNetwork(classifier.module).eval(), IrnRefinement()

    def irn(attribution: Attribution, picture: NDArray[np.uint8]) -> FloatArray:
        confident_labels(attribution, picture, conf_fg=0.35, conf_bg=0.15, device=classifier.device)
        inputs = classifier.normalise(torch.from_numpy(picture.copy()).movedim(2, 0)[None].float() / 255)
        edges = network.infer(inputs)[0][0]
        refined = refine_maps(
            torch.from_numpy(attribution.maps),
            edges,
            attribution.image_size,
            power=settings.power,
            beta=settings.beta,
            steps=settings.steps,
        )
        return np.asarray(refined)

    refiners: dict[str, Refiner] = {
        "crf": CrfRefiner(CrfRefinement(), 0.3, "cpu"),
        "affinity": AffinityRefiner(AffinityRefinement(), "cpu"),
        "walk": irn,
    }
    found = {}
    for name, refiner in refiners.items():
        total, rows = 0.0, []
        for (sample, picture, _), attribution in zip(pictures, maps, strict=True):
            pixels = np.asarray(picture)
            seconds, scores = timed(refiner, attribution, pixels)
            total += seconds
            rows.append((sample, with_scores(attribution, scores)))
        areas = sum(area(picture) for _, picture, _ in pictures)
        found[f"{name}_seconds"] = total / areas
        found[f"{name}_bytes"] = stored(rows, folder / name)[1] * len(rows) / areas
    return found


def _step(function: Callable[[Tensor], Tensor], inputs: Tensor) -> None:
    """There and back, in the precision that a training takes here."""
    half = resolve("auto", inputs)
    with torch.autocast("cpu", half, enabled=half != torch.float32):
        answer = function(inputs).float().sum()
    torch.autograd.backward(answer)


def networks(classifier: Classifier, repeat: int = 2) -> dict[str, float]:
    """Seconds of a picture of 375 x 500 in the other networks: there, and there and back in a step of training.

    Steps are those of the stages, at their crop, of four pictures; the optimiser's own time is left out.
    """
    segmenter = create_network(NetworkSettings(weights="random"), 21)
    objective = IrnObjective(IRNetwork(classifier.module))
    steps: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
        "train-classifier": (ClassifierSettings().side, classifier.module),
        "train-segmenter": (SegmenterSettings().crop, segmenter),
        "refine-irn": (
            IrnRefinement().crop,
            lambda inputs: objective({"pictures": inputs, "labels": labels}),
        ),
    }
    half = torch.arange(IrnRefinement().crop) < IrnRefinement().crop // 2  # the left half is class 1
    labels = half.long().expand(_STEP, len(half), len(half)).contiguous()
    found = {}
    for name, (side, function) in steps.items():
        inputs = torch.randn(_STEP, 3, side, side, generator=torch.Generator().manual_seed(0))
        seconds = sum(timed(_step, function, inputs)[0] for _ in range(repeat))
        found[f"{name} step_seconds"] = seconds / repeat / (inputs[:, 0].numel() / PASS_PIXELS)
    picture = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
    looks = len(InferenceSettings().scales) * (1 + InferenceSettings().flip)
    looking = [timed(lambda: predict(segmenter, picture))[0] for _ in range(repeat)]
    return {"look_seconds": statistics.median(looking) / looks, **found}


def listed_bytes(count: int = 20_000) -> float:
    """Memory of a picture in the lists of a run: sample, classes, and its place among those that are done."""
    tracemalloc.start()
    samples = [
        Sample(
            f"n{i % 1000:08d}/n{i % 1000:08d}_{i}.JPEG", Path(f"/data/n{i % 1000:08d}/{i}.JPEG"), (f"n{i % 1000:08d}",)
        )
        for i in range(count)
    ]
    held = samples, {one.id: [0] for one in samples}, {one.id for one in samples}
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del held
    return size / count


def measure(samples: Sequence[Sample], folder: Path) -> dict[str, float]:
    """Everything, in the fields of `Figures` and a few more."""
    started = time.perf_counter()
    classifier = load_classifier()
    classifier.predict(Image.new("RGB", (500, 375)))
    loading = time.perf_counter() - started
    read_picture(samples[0].path)  # the first makes ready what later ones use
    read_seconds, images = timed(lambda: [read_picture(sample.path).convert("RGB") for sample in samples])
    pictures: Pictures = []
    for sample, image in zip(samples, images, strict=True):
        count = max(1, len(sample.labels or ()))
        pictures.append((sample, image, [one.class_id for one in classifier.predict(image, count)]))
    areas = sum(map(area, images))
    seconds, maps, pass_seconds = explain(classifier, pictures)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = outputs(pictures, maps, folder) | refinements(classifier, pictures, maps, folder) | networks(classifier)
    return {
        "pass_seconds": pass_seconds,
        "forward_seconds": forward_seconds(classifier),
        "read_seconds": read_seconds / areas,
        "loading_seconds": loading,
        "spread": statistics.pstdev(seconds) / statistics.fmean(seconds),
        "climb_seconds": statistics.fmean(seconds),
        "picture_bytes": sum(sample.path.stat().st_size for sample in samples) / areas,
        "worker_bytes": peak,
        "listed_bytes": listed_bytes(),
        "mean_area": areas / len(samples),
        "classes": statistics.fmean(len(classes) for _, _, classes in pictures),
        **found,
    }


def figures_of(found: dict[str, float]) -> Figures:
    """What was measured, as `advcam size` takes it."""
    named = {name: value for name, value in found.items() if name in {one.name for one in fields(Figures)}}
    steps = {name.split()[0]: value for name, value in found.items() if name.endswith(" step_seconds")}
    scores = {f"refine-{name}": found[f"{key}_bytes"] for name, key in _REFINED.items()}
    return replace(Figures(), **named, step_seconds=steps, score_bytes=scores)  # type: ignore[arg-type]


#: Stage of a refinement, and what its figures are called here.
_REFINED = {"crf": "crf", "affinity": "affinity", "irn": "walk"}


def main() -> None:
    """Measure, or read what was measured, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("--split", default="train")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--figures", type=Path, default=Path("sizing.json"))
    parser.add_argument("--gpu-passes", type=float, default=500.0)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.figures.exists():
        with tempfile.TemporaryDirectory() as name:
            samples = chosen(arguments.root, arguments.split, arguments.pictures, Path(name, "photographs"))
            arguments.figures.write_text(json.dumps(measure(samples, Path(name)), indent=2) + "\n")
    found = json.loads(arguments.figures.read_text())
    print(json.dumps(found, indent=2))
    core = figures_of(found)
    gpu = core.at_pass(1 / arguments.gpu_passes, apart=True)
    print()
    size_table(core, gpu)
    print()
    stage_table(core, gpu)
    print()
    trouble_table(core)
    if arguments.plot is not None:
        plot(core, arguments.plot)


if __name__ == "__main__":
    main()
