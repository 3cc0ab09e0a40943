"""The network as the methods run it: a copy, batch normalisation folded, channels-last, in the chosen precision.

The user's module is never touched. A copy is checked against it once on a random picture: a network whose
normalisations cannot be folded keeps them, one that does not run in half precision runs in float32 and says so.
"""

import copy
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from advcam.attribution.response import Response
from advcam.classifiers.compiled import compiled_responder
from advcam.classifiers.folding import fold_batch_norm
from advcam.classifiers.layers import LayerResponder

Responder = Callable[[nn.Module, Tensor], Response]

#: Largest change of a score by folding, relative to the largest score: rounding makes 1e-6 of it, a wrong fold 1.
_FOLD_TOLERANCE = 1e-3


class PreparedNetwork:
    """Answers as the network that it was made of does, to rounding; see `prepare`.

    Args:
        module: The copy, in evaluation mode, without parameter gradients.
        responder: Turns (module, inputs) into a `Response`.
        dtype: What the module takes its inputs in.
    """

    def __init__(self, module: nn.Module, responder: Responder, dtype: torch.dtype) -> None:
        self.module = module
        self.responder = responder
        self.dtype = dtype

    def respond(self, inputs: Tensor) -> Response:
        """The answer to normalised pictures (B, 3, H, W); see `advcam.attribution.response`."""
        return self.responder(self.module, inputs.to(self.dtype, memory_format=torch.channels_last))


def prepare(
    module: nn.Module,
    responder: Responder,
    dtype: torch.dtype,
    size: tuple[int, int],
    *,
    exact: bool = False,
    compiled: bool = False,
) -> PreparedNetwork:
    """A network ready to be run many times.

    Args:
        module: The network; left as it is.
        responder: See `PreparedNetwork`.
        dtype: What to compute in.
        size: (H, W) of a picture that the network takes, for the check.
        exact: Leave batch normalisations where they are: folded ones differ by rounding, which a long climb amplifies.
        compiled: Compile the copy (and capture CUDA graphs); the first picture of each size then takes a minute more.
    """
    sample = _sample(module, size)
    try:
        base = _copied(module)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        # Some modules cannot be copied (a tensor on the graph kept as an attribute): then they run as they are.
        _say(f"the network cannot be copied ({_first_line(error)}); it runs as it is, and slower")
        return PreparedNetwork(module, responder, _dtype(module))
    network = base if exact else _folded(base, module, responder, sample)
    converted = _converted(network, responder, dtype, sample)
    if compiled:
        sample = sample.to(converted.dtype)
        converted.responder = compiled_responder(converted.module, responder, sample)
    return converted


def _copied(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _folded(base: nn.Module, module: nn.Module, responder: Responder, sample: Tensor) -> nn.Module:
    """The copy with its normalisations folded in, or as it is where that would change its answers."""
    if not fold_batch_norm(base):
        return base
    plain = _copied(module)
    pairs = zip(_answers(plain, responder, sample), _answers(base, responder, sample), strict=True)
    if all((a - b).abs().max() <= _FOLD_TOLERANCE * a.abs().max() for a, b in pairs):
        return base
    # Normalisations that stand behind a convolution but do not follow it in the forward pass, or whose convolution is
    # the feature layer.
    return plain


def _converted(network: nn.Module, responder: Responder, dtype: torch.dtype, sample: Tensor) -> PreparedNetwork:
    own = _dtype(network)
    if dtype.itemsize >= own.itemsize:
        return PreparedNetwork(network.to(dtype), responder, dtype)
    problem = ""
    for exact_stem in (True, False):
        half = _with_exact_head(copy.deepcopy(network).to(dtype), responder)
        inputs = _with_exact_stem(half, dtype) if exact_stem else dtype
        try:
            if torch.isfinite(_scores(half, responder, sample.to(inputs))).all():
                return PreparedNetwork(half, responder, inputs)
            problem = "its scores overflow"
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            problem = _first_line(error)
    asked, instead = (str(one).removeprefix("torch.") for one in (dtype, own))
    _say(f"the network does not run in {asked} ({problem}); it runs in {instead}")
    return PreparedNetwork(network, responder, own)


def _with_exact_stem(half: nn.Module, dtype: torch.dtype) -> torch.dtype:
    """Let the convolution that sees the picture compute in float32; returns what the inputs are then given in.

    A step moves most pixels by less than half precision resolves, and what is rounded away there is lost to the climb.
    """
    stem = next((layer for layer in half.modules() if isinstance(layer, nn.Conv2d) and layer.in_channels == 3), None)
    if stem is None:
        return dtype
    stem.float()
    stem.register_forward_hook(lambda _module, _inputs, output: output.to(dtype))
    return torch.float32


def _with_exact_head(half: nn.Module, responder: Responder) -> nn.Module:
    """Keep a linear head in float32: it costs nothing, and scores of eight bits would be reported as such."""
    if isinstance(responder, LayerResponder) and responder.head is not None:
        head = half.get_submodule(responder.head).float()
        head.register_forward_pre_hook(lambda _module, inputs: inputs[0].float())
    return half


def _answers(module: nn.Module, responder: Responder, sample: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and the map of the first class."""
    with torch.enable_grad():
        response = responder(module, sample.contiguous(memory_format=torch.channels_last))
        first = torch.zeros(1, dtype=torch.long, device=sample.device)
        return response.scores.detach(), response.class_map(first).detach()


@torch.no_grad()
def _scores(module: nn.Module, responder: Responder, sample: Tensor) -> Tensor:
    return responder(module, sample.contiguous(memory_format=torch.channels_last)).scores


def _sample(module: nn.Module, size: tuple[int, int]) -> Tensor:
    noise = torch.randn((1, 3, *size), generator=torch.Generator().manual_seed(0))
    return noise.to(next((p.device for p in module.parameters()), torch.device("cpu")), _dtype(module))


def _dtype(module: nn.Module) -> torch.dtype:
    floating = (t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point())
    return next(floating, torch.float32)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def _say(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)
