"""How far an ONNX file and PyTorch are apart: the same pictures through both, one at a time."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from advcam.errors import ModelError, SettingError, one_line
from advcam.segment.network import SegmentationNetwork
from advcam.segment.tracing import INPUT, OUTPUT
from advcam.training.augment import resize_longest

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]

#: (H, W) of the drawn pictures that every file is tried on: odd, even, small, multiples of 32.
_TRIED = ((96, 128), (61, 87), (128, 75), (33, 160))
#: Larger pictures are compared at this size of the longer side: a class costs 4 bytes a pixel, twice.
_LONGEST = 640


@dataclass(frozen=True)
class Comparison:
    """How far an ONNX file and PyTorch, in float32 on the CPU, are apart.

    Args:
        pictures: Compared.
        sizes: Different sizes among them.
        largest_difference: Of two probabilities, in [0, 1].
        equal_labels: Share of all pixels with the same most probable class.
    """

    pictures: int
    sizes: int
    largest_difference: float
    equal_labels: float


def compare(
    network: SegmentationNetwork, session: "onnxruntime.InferenceSession", pictures: Iterable[Image.Image]
) -> Comparison:
    """Run both on each picture, one at a time.

    Raises:
        SettingError: There is no picture.
        ModelError: onnxruntime fails, or answers in another shape.
    """
    largest, equal, pixels = 0.0, 0, 0
    sizes: list[tuple[int, ...]] = []
    plain = copy.deepcopy(network).to(device="cpu", dtype=torch.float32).eval()
    for picture in pictures:
        inputs = _inputs(picture, _fixed_size(session))
        expected, answer = _reference(plain, inputs), _answer(session, inputs)
        if answer.shape != expected.shape:
            raise ModelError(f"the ONNX file answers {answer.shape} where the network answers {expected.shape}")
        largest = max(largest, float(np.nan_to_num(np.abs(answer - expected), nan=np.inf).max()))
        equal += int((answer.argmax(axis=1) == expected.argmax(axis=1)).sum())
        pixels += inputs.shape[2] * inputs.shape[3]
        sizes.append(inputs.shape[2:])
    if not sizes:
        raise SettingError("nothing to compare: there is no picture")
    return Comparison(len(sizes), len(set(sizes)), largest, equal / pixels)


def session_of(content: bytes) -> "onnxruntime.InferenceSession":
    """ONNX Runtime on the CPU, with a file in memory."""
    import onnxruntime  # optional

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised as well
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base but Exception
        raise ModelError(f"onnxruntime does not take the file ({one_line(error)})") from error


def drawn_pictures() -> Iterator[Image.Image]:
    """Blurred noise: many colours, soft and sharp borders, the same each time."""
    random = np.random.default_rng(0)
    for height, width in _TRIED:
        coarse = Image.fromarray(random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
        yield coarse.resize((width, height), Image.Resampling.BICUBIC)


def _fixed_size(session: "onnxruntime.InferenceSession") -> tuple[int, int] | None:
    """(H, W) that the input of a file demands."""
    _, _, height, width = session.get_inputs()[0].shape
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _inputs(picture: Image.Image, fixed_size: tuple[int, int] | None) -> NDArray[np.float32]:
    """A picture as the file takes it, (1, 3, H, W)."""
    picture = picture.convert("RGB")
    if fixed_size is not None:
        picture = picture.resize(fixed_size[::-1], Image.Resampling.BILINEAR)
    elif max(picture.size) > _LONGEST:
        picture = resize_longest(picture, _LONGEST)
    pixels = np.asarray(picture, dtype=np.float32) / 255
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _reference(network: SegmentationNetwork, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What PyTorch says of a picture, (1, C, H, W)."""
    normalise = network.normalisation
    mean, std = (torch.tensor(list(values)).view(1, 3, 1, 1) for values in (normalise.mean, normalise.std))
    pictures = torch.from_numpy(inputs)
    with torch.inference_mode():
        scores = network((pictures - mean) / std)
        full = functional.interpolate(scores, size=pictures.shape[-2:], mode="bilinear", align_corners=False)
        return full.softmax(dim=1).numpy()


def _answer(session: "onnxruntime.InferenceSession", inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the file says of a picture, (1, C, H, W)."""
    try:
        (answer,) = session.run([OUTPUT], {INPUT: inputs})
    except Exception as error:
        raise ModelError(
            f"onnxruntime fails on a picture of {inputs.shape[2]} x {inputs.shape[3]} ({one_line(error)})"
        ) from error
    return np.asarray(answer)
