"""What IRN learns from: label masks that say nothing where attribution maps are unsure."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from advcam.errors import PictureError, SettingError
from advcam.refine.dense_crf import IRN_LABELS, CrfSettings, dense_crf, label_unary
from advcam.refine.irn.walk import GRID_STRIDE
from advcam.types import IGNORE, Attribution, Mask, check_threshold


def confident_labels(
    attribution: Attribution,
    picture: NDArray[np.uint8],
    *,
    conf_fg: float = 0.35,
    conf_bg: float = 0.15,
    crf: CrfSettings = IRN_LABELS,
    confidence: float = 0.7,
    device: torch.device | str = "cpu",
) -> Mask:
    """The class of each pixel where it is sure, background where that is sure, else 255.

    The maps compete twice with a constant background, of value conf_fg and of value conf_bg, and a dense CRF smooths
    both winners to L_fg and L_bg (Ahn, Cho, Kwak, CVPR 2019; the values are AdvCAM's). A pixel is L_fg where that is a
    class, background where neither is one, and unknown where only L_bg is. A picture without a class is background.

    Args:
        attribution: Maps, each divided by its own maximum.
        picture: RGB, (H, W, 3), uint8.
        conf_fg: A class is sure above it, 0 to 1.
        conf_bg: Background is sure below it, 0 to `conf_fg`.
        crf: Constants of the dense CRF; with 0 iterations there is none.
        confidence: Probability that a winner is right, as the CRF takes it.
        device: Where the CRF runs.

    Returns:
        (H, W): 0 background, class + 1, or 255.

    Raises:
        SettingError: A setting is out of its range, or a class would have the number 255 in the mask.
        PictureError: The picture has another size than the attribution, or is no RGB of bytes.
    """
    _check(attribution, picture, conf_fg, conf_bg)
    if not attribution.class_ids:
        return np.zeros(attribution.image_size, dtype=np.int32)
    maps = torch.from_numpy(attribution.upsample()).to(device)
    highest, winner = maps.max(dim=0)
    thresholds = torch.tensor([conf_fg, conf_bg], device=device).view(2, 1, 1)
    labels = torch.where(highest > thresholds, winner + 1, 0)
    unary = label_unary(labels, len(maps) + 1, confidence)
    pictures = torch.tensor(picture, device=device).movedim(2, 0).expand(2, -1, -1, -1)
    foreground, background = dense_crf(pictures, unary, crf).argmax(dim=1).cpu().numpy()
    numbers = np.array([0, *(class_id + 1 for class_id in attribution.class_ids)], dtype=np.int32)
    unsure = (foreground == 0) & (background != 0)
    return np.where(unsure, IGNORE, numbers[foreground]).astype(np.int32)


def grid_labels(labels: Tensor) -> Tensor:
    """Label masks (N, H, W) on the grid of the network, (N, h, w): the label at the middle of each 4 x 4 pixels.

    A cell whose middle lies outside the picture is 255. For crops whose sides are multiples of 4 it is the nearest
    reduction of the published code.
    """
    right, bottom = (-labels.shape[-1] % GRID_STRIDE, -labels.shape[-2] % GRID_STRIDE)
    middle = GRID_STRIDE // 2
    return functional.pad(labels, (0, right, 0, bottom), value=IGNORE)[:, middle::GRID_STRIDE, middle::GRID_STRIDE]


def _check(attribution: Attribution, picture: NDArray[np.uint8], conf_fg: float, conf_bg: float) -> None:
    check_threshold(conf_fg)
    check_threshold(conf_bg)
    if conf_bg > conf_fg:
        raise SettingError(f"conf_bg is at most conf_fg: in between nothing is sure; got {conf_bg} and {conf_fg}")
    if IGNORE - 1 in attribution.class_ids:
        raise SettingError(
            f"class {IGNORE - 1} would be {IGNORE} in a mask, which means ignore; number the classes of the data set "
            f"from 0 and leave {IGNORE - 1} out"
        )
    if picture.shape != (*attribution.image_size, 3) or picture.dtype != np.uint8:
        raise PictureError(
            f"the picture of this attribution is RGB bytes of shape {(*attribution.image_size, 3)}; got "
            f"{picture.shape} of {picture.dtype}"
        )
