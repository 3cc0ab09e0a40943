"""How far the ONNX file of a segmentation network and PyTorch are apart on pictures of a data set.

    python benchmarks/onnx_agreement.py SEGMENTER ROOT --split val --limit 50

SEGMENTER is the folder of a run with a trained segmentation network, ROOT a data set in a known layout, or with
`--split ""` any folder of pictures. The network is exported anew; each picture is given to both at its own size, in
float32 on the CPU. Nothing is written beside the temporary file.

The last line printed is JSON: pictures, different sizes among them, the largest difference of two probabilities, the
share of pixels with the same most probable class, seconds of the export, milliseconds a picture of both, versions.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from PIL import Image

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.pictures import find_pictures, read_picture
from advcam.segment.export import compare_onnx, export_onnx
from advcam.segment.trained import load_segmenter


def pictures(root: Path, split: str, limit: int) -> Iterator[Image.Image]:
    """The first pictures of a split, or of a folder."""
    if split:
        dataset = open_dataset(root)
        paths = [dataset.sample(id_).path for id_ in list(dataset.ids(split))[:limit]]
    else:
        paths = [sample.path for sample in find_pictures([root])[:limit]]
    for path in paths:
        yield read_picture(path)


def main() -> None:
    """Export, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("segmenter", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=50)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    segmenter = load_segmenter(arguments.segmenter)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        export = export_onnx(segmenter.network, segmenter.class_names, Path(folder) / "model.onnx")
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        found = compare_onnx(segmenter.network, export.path, pictures(arguments.root, arguments.split, arguments.limit))
        both = (time.perf_counter() - start) / found.pictures
        size = export.path.stat().st_size
    facts = {
        "network": f"{segmenter.settings.network.head} on {segmenter.settings.network.model}",
        "classes": len(segmenter.class_names) + 1,
        "pictures": found.pictures,
        "sizes": found.sizes,
        "largest_difference": found.largest_difference,
        "equal_labels": found.equal_labels,
        "megabytes": round(size / 1e6, 1),
        "opset": export.opset,
        "fixed_size": export.fixed_size,
        "export_seconds": round(seconds, 1),
        "milliseconds_of_both": round(1000 * both),
        **{name: version(name) for name in ("torch", "onnx", "onnxruntime", "onnxscript")},
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
