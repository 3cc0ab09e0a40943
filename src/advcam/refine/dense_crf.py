"""Dense CRF: labels that agree between all pairs of pixels which are near and look alike.

Krähenbühl, Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NeurIPS 2011. With
the energy of a label u_i(l) at each pixel and Potts compatibility, mean field repeats

    Q_i(l) = softmax_l( -u_i(l) + sum_m w_m sum_j k_m(i, j) Q_j(l) )

over two kernels k_m: Gaussian in the position, and bilateral, Gaussian in position and colour together. All is
computed as pydensecrf does: kernels on the permutohedral lattice with symmetric normalisation, k(i, j) =
g(i, j) / sqrt(n_i n_j) with n_i = sum_j g(i, j); a pixel's message to itself is kept; the first Q is softmax(-u).
Marginals differ by rounding alone, but for pictures whose number of pixels is no multiple of four: pydensecrf fills up
with positions of zeros, whose lattice points take part in the blur.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advcam.errors import PictureError, SettingError
from advcam.refine.permutohedral import Lattice, LatticeFilter, joined, permutohedral_lattice

#: Added to n_i, as pydensecrf does, so that a pixel that nothing reaches divides by something.
_EPSILON = 1e-20
#: Probabilities below it count as it: -log stays finite (pydensecrf.utils.unary_from_softmax).
SMALLEST_PROBABILITY = 1e-5


@dataclass(frozen=True)
class CrfSettings:
    """The constants of the dense CRF.

    Args:
        iterations: Steps of mean field; 0 gives softmax(-unary).
        gaussian_sxy: Standard deviation of the Gaussian kernel, pixels.
        gaussian_weight: Its weight w; 0 leaves the kernel out.
        bilateral_sxy: Standard deviation of the bilateral kernel in the position, pixels.
        bilateral_srgb: And in the colour, of 255.
        bilateral_weight: Its weight w; 0 leaves the kernel out.

    Raises:
        SettingError: A constant is out of its range.
    """

    iterations: int = 10
    gaussian_sxy: float = 3.0
    gaussian_weight: float = 3.0
    bilateral_sxy: float = 50.0
    bilateral_srgb: float = 5.0
    bilateral_weight: float = 10.0

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise SettingError(f"iterations of the dense CRF is at least 0; got {self.iterations}")
        for name in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingError(f"{name}, a standard deviation, is positive and finite; got {getattr(self, name)}")
        for name in ("gaussian_weight", "bilateral_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"{name} is finite and not negative; got {getattr(self, name)}")


#: Label maps of IRN (Ahn, Cho, Kwak, CVPR 2019; jiwoon-ahn/irn, misc/imutils.py), with `label_unary(.., 0.7)`.
IRN_LABELS = CrfSettings()
#: Softmax of a segmentation network (Chen et al., DeepLab, TPAMI 2018; kazuto1011/deeplab-pytorch, voc12.yaml).
DEEPLAB = CrfSettings(
    gaussian_sxy=1.0, gaussian_weight=3.0, bilateral_sxy=67.0, bilateral_srgb=3.0, bilateral_weight=4.0
)


def label_unary(labels: Tensor, num_labels: int, confidence: float = 0.7) -> Tensor:
    """Energies of a label map that is right with the given probability.

    -log(confidence) for the label of a pixel, -log((1 - confidence) / (L - 1)) for each other one: what
    pydensecrf.utils.unary_from_labels gives with zero_unsure=False. With one label there is no other.

    Args:
        labels: (N, H, W), int64, 0 to L - 1.
        num_labels: L.
        confidence: Between 0 and 1, both excluded.

    Returns:
        (N, L, H, W), float32.

    Raises:
        SettingError: A label or an argument is out of its range.
    """
    if num_labels < 1:
        raise SettingError(f"a dense CRF takes at least 1 label; got num_labels={num_labels}")
    if not 0 < confidence < 1:
        raise SettingError(f"confidence lies between 0 and 1, both excluded; got {confidence}")
    if labels.ndim != 3 or labels.dtype != torch.int64:
        raise SettingError(f"labels are (N, H, W), int64; got shape {tuple(labels.shape)} of {labels.dtype}")
    if labels.numel() and not (labels.min() >= 0 and labels.max() < num_labels):
        raise SettingError(
            f"labels count from 0 to {num_labels - 1}; got {labels.min()} to {labels.max()}; give pixels to ignore "
            "a label of their own"
        )
    shape = (labels.shape[0], *labels.shape[1:], num_labels)
    other = -math.log((1 - confidence) / max(num_labels - 1, 1))
    unary = torch.full(shape, other, dtype=torch.float32, device=labels.device)
    return unary.scatter_(3, labels[..., None], -math.log(confidence)).movedim(3, 1)


def probability_unary(probabilities: Tensor) -> Tensor:
    """Energies -log p of probabilities (N, L, H, W), of which those below 1e-5 count as 1e-5.

    Raises:
        SettingError: A value is no probability.
    """
    if probabilities.numel() and not (probabilities.min() >= 0 and probabilities.max() <= 1 + 1e-4):
        raise SettingError(
            f"probabilities lie between 0 and 1; got {probabilities.min():g} to {probabilities.max():g}; take the "
            "softmax of scores first"
        )
    return -probabilities.float().clamp(SMALLEST_PROBABILITY, 1).log()


@torch.no_grad()
def dense_crf(pictures: Tensor, unary: Tensor, settings: CrfSettings = IRN_LABELS) -> Tensor:
    """Marginals of the dense CRF by mean field.

    Pictures go one after the other: each fills the device, and has a lattice of its own, for noise of about 6 points a
    pixel, of which each takes 8 bytes a label. They share the lattice of the Gaussian kernel. No gradient flows. On a
    CPU where other work runs, one thread (`torch.set_num_threads(1)`) is faster than several, which wait for each
    other after every step.

    Args:
        pictures: RGB, (N, 3, H, W), uint8, or float from 0 to 255.
        unary: Energies, finite, (N, L, H, W), on the device of the pictures.
        settings: The constants.

    Returns:
        Probabilities of the labels of each pixel, (N, L, H, W), float32, with sum 1. In memory the labels of a pixel
        lie side by side (channels last).

    Raises:
        PictureError: The pictures are not RGB, empty, or hold values outside 0 to 255.
        SettingError: The energies do not fit the pictures or are not finite, or the kernels are too narrow.
    """
    _check(pictures, unary)
    size, labels = pictures.shape[2:], unary.shape[1]
    energies = unary.movedim(1, 3).float().contiguous().view(len(unary), -1, labels)
    grid = torch.meshgrid(*(torch.arange(n, device=pictures.device) for n in size), indexing="ij")
    positions = torch.stack(grid[::-1]).flatten(1).float()
    gaussian = _kernel(positions / settings.gaussian_sxy, settings.gaussian_weight)
    marginals = torch.empty_like(energies)
    for picture, energy, marginal in zip(pictures, energies, marginals, strict=True):
        colours = picture.flatten(1).float() / settings.bilateral_srgb
        bilateral = _kernel(torch.cat([positions / settings.bilateral_sxy, colours]), settings.bilateral_weight)
        kernels = LatticeFilter(joined([gaussian, bilateral]), labels)
        _mean_field(kernels, energy, settings.iterations, marginal)
    return marginals.view(len(unary), *size, labels).movedim(3, 1)


def _mean_field(kernels: LatticeFilter, energies: Tensor, iterations: int, marginals: Tensor) -> None:
    """Mean field from energies (P, L) of P pixels, written to marginals (P, L)."""
    torch.softmax(-energies, 1, out=marginals)
    for _ in range(iterations):
        for rows, messages in kernels.blocks(marginals):
            torch.softmax(messages.sub_(energies[rows]), 1, out=marginals[rows])


def _kernel(features: Tensor, weight: float) -> Lattice:
    """w k(i, j) for the features (d, P) of P pixels, in units of the standard deviation."""
    lattice = permutohedral_lattice(features)
    ones = features.new_ones(features.shape[1], 1)
    total = LatticeFilter(lattice, 1)(ones).squeeze(1)
    return lattice.scaled(math.sqrt(weight) * (total + _EPSILON).rsqrt())


def _check(pictures: Tensor, unary: Tensor) -> None:
    if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.numel() == 0:
        raise PictureError(
            f"a dense CRF takes RGB pictures with at least one pixel, (N, 3, H, W); got shape {tuple(pictures.shape)}; "
            "repeat the channel of grey pictures three times"
        )
    if unary.ndim != 4 or unary.shape[1] == 0 or unary[:, 0].shape != pictures[:, 0].shape:
        raise SettingError(
            f"unary energies are (N, L, H, W) with at least one label, at the size of the pictures "
            f"{tuple(pictures.shape)}; got shape {tuple(unary.shape)}; resize them to the pictures"
        )
    low, high = pictures.aminmax()
    if not (low >= 0 and high <= 255):
        raise PictureError(
            f"a dense CRF takes pictures with values from 0 to 255; got {low:g} to {high:g}; undo the normalisation"
        )
    # NaN passes through the extremes, which are found several times faster than a look at each value takes.
    if not torch.stack(unary.aminmax()).isfinite().all():
        raise SettingError(
            "unary energies are finite; got NaN or infinity; use probability_unary, which cuts small probabilities off"
        )
