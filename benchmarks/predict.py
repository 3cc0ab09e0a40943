"""What `advcam predict` costs: time and peak memory on the demo photographs and on large pictures.

    python benchmarks/predict.py                            a network of random weights: speed does not depend on them
    python benchmarks/predict.py --segmenter RUN            a trained one
    python benchmarks/predict.py --device cuda --quick      without the dense CRF

Each case is a process of its own. The large pictures are enlarged from scikit-image's motorcycle. Prints one JSON
object, and each case on standard error as soon as it is done: the number of pictures, `seconds` of the prediction,
`cpu_seconds` and `peak_mb` of the whole process, and `above_mb`, by which its peak exceeds that of a picture of 64 x 64
pixels (libraries and network).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import skimage.data
import torch
from PIL import Image
from safetensors.torch import save_file

from advcam.pipeline.demo import PHOTOGRAPHS, write_photographs
from advcam.segment.network import NetworkSettings, create_network
from advcam.segment.settings import SegmenterSettings
from advcam.segment.trained import FACTS_FILE, FORMAT_VERSION
from advcam.training.loop import BEST_FILE

#: Name, width, height, options; the photographs have no size.
Case = tuple[str, tuple[int, int] | None, list[str]]
_TILES = ["--max-side", "0"]
CASES: list[Case] = [
    ("64 x 64", (64, 64), []),
    ("photographs", None, []),
    ("photographs, no flip", None, ["--no-flip"]),
    ("photographs, 3 scales", None, ["--scales", "0.5", "1", "1.5"]),
    ("6,000 x 4,000", (6000, 4000), []),
    ("3,000 x 2,000, full size in tiles", (3000, 2000), _TILES),
    ("6,000 x 4,000, full size in tiles", (6000, 4000), _TILES),
    ("6,000 x 4,000, full size in tiles of 512", (6000, 4000), [*_TILES, "--tile", "512"]),
]
SLOW: list[Case] = [
    ("photographs, dense CRF", None, ["--crf"]),
    ("6,000 x 4,000, dense CRF", (6000, 4000), ["--crf"]),
]


def untrained(folder: Path, classes: int = 20) -> Path:
    """A DeepLabV2 of random weights, in the format of `load_segmenter`."""
    settings = SegmenterSettings(network=NetworkSettings(weights="random"))
    network = create_network(settings.network, classes + 1)
    folder.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / BEST_FILE)
    names = [f"class {number}" for number in range(classes)]
    facts = {"advcam_segmenter": FORMAT_VERSION, "class_names": names, "settings": settings.model_dump(mode="json")}
    (folder / FACTS_FILE).write_text(json.dumps(facts))
    return folder


def pictures(size: tuple[int, int] | None, folder: Path) -> str:
    """The demo photographs, or one of them at a size (width, height)."""
    if size is None:
        write_photographs(folder / "photographs")
        return str(folder / "photographs")
    path = folder / f"{size[0]}.jpg"
    if not path.exists():
        photograph = Image.fromarray(skimage.data.stereo_motorcycle()[0])  # type: ignore[no-untyped-call]
        photograph.resize(size, Image.Resampling.BICUBIC).save(path, quality=92)
    return str(path)


def measure(case: Case, segmenter: Path, device: str, folder: Path) -> dict[str, Any]:
    """One case in a process of its own."""
    name, size, options = case
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = [sys.executable, "-m", "advcam", "predict", pictures(size, folder), "--segmenter", str(segmenter)]
        command += ["--out", f"{out}/run", "--device", device, "--quiet", *options]
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{name}: advcam predict failed")
        summary = json.loads(Path(out, "run", "summary.json").read_text())
    row = {
        "case": name,
        "pictures": len(PHOTOGRAPHS) if size is None else 1,
        "seconds": summary["seconds"],
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }
    print(row, file=sys.stderr)
    return row


def main() -> None:
    """Measure all cases, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segmenter", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        segmenter = chosen.segmenter or untrained(Path(name, "segmenter"))
        cases = CASES if chosen.quick else CASES + SLOW
        rows = [measure(case, segmenter, chosen.device, Path(name)) for case in cases]
    for row in rows:
        row["above_mb"] = row["peak_mb"] - rows[0]["peak_mb"]
    threads = torch.get_num_threads()
    print(json.dumps({"device": chosen.device, "machine": platform.machine(), "threads": threads, "cases": rows}))


if __name__ == "__main__":
    main()
