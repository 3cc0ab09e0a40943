"""torch.compile for a network of which not only the answer but also a layer inside is wanted.

The hook that captures the layer has to be in place before the compiler looks, so it stays on the copy that is
compiled (see `prepared.py`). With CUDA the compiled passes are captured as CUDA graphs, one for each size of the batch.
Not being able to compile is no error: the network runs as it is, and that is said once.
"""

import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch._functorch import config as _functorch

from advcam.attribution.response import Response
from advcam.classifiers.layers import LayerResponder, score_tensor

Responder = Callable[[nn.Module, Tensor], Response]


class Tapped(nn.Module):
    """A network that returns (its answer, the output of one of its layers).

    Args:
        module: The network; a hook stays on the layer.
        layer: Name of the layer.
    """

    def __init__(self, module: nn.Module, layer: str) -> None:
        super().__init__()
        self.module = module
        self.kept: list[Tensor] = []
        self.handle = module.get_submodule(layer).register_forward_hook(self._keep)

    def forward(self, inputs: Tensor) -> tuple[object, Tensor]:
        """Run the network once."""
        self.kept.clear()
        output = self.module(inputs)
        return output, self.kept[-1]

    def _keep(self, _module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        self.kept.append(output)
        return output.clone()


def compiled_responder(module: nn.Module, responder: Responder, sample: Tensor) -> Responder:
    """A responder that runs a compiled network, tried forward and backward on a sample; or the one given.

    Args:
        module: The network, a copy that belongs to the caller.
        responder: How it answers without compiling.
        sample: A picture (1, 3, H, W) in the network's format.
    """
    if isinstance(responder, LayerResponder) and responder.head is None:
        _say("its maps need the gradient at the feature layer")
        return responder
    target = Tapped(module, responder.layer) if isinstance(responder, LayerResponder) else module
    try:
        answer = _compiled(target, module, responder, cuda_graphs=sample.device.type == "cuda")
        _try(answer, module, sample)
    except (RuntimeError, TypeError, AttributeError) as error:
        _say(str(error).strip().split("\n", 1)[0])
        if isinstance(target, Tapped):
            target.handle.remove()
        return responder
    return answer


def _compiled(target: nn.Module, module: nn.Module, responder: Responder, cuda_graphs: bool) -> Responder:
    # A picture with several classes is gone back through several times, so no buffer of a pass may be given away. The
    # backward pass is compiled when it is first needed, so this holds for the process and not for a moment.
    _functorch.donated_buffer = False
    network = cast("nn.Module", torch.compile(target, mode="reduce-overhead" if cuda_graphs else None))

    def answer(_module: nn.Module, inputs: Tensor) -> Response:
        if cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        if torch.is_grad_enabled() and not inputs.requires_grad:
            inputs = inputs.detach().requires_grad_()  # so that there is a graph behind the layer
        if not isinstance(responder, LayerResponder):
            return responder(network, inputs)
        output, layer = network(inputs)
        return responder.response(module, inputs, score_tensor(output), layer)

    return answer


def _try(answer: Responder, module: nn.Module, sample: Tensor) -> None:
    """Forward, and back twice."""
    with torch.inference_mode(False), torch.enable_grad():
        picture = sample.contiguous(memory_format=torch.channels_last).detach().requires_grad_()
        scores = answer(module, picture).scores
        torch.autograd.grad(scores.sum(), picture, retain_graph=True)
        torch.autograd.grad(scores.sum(), picture)


def _say(reason: str) -> None:
    warnings.warn(f"the network cannot be compiled ({reason}); it runs as it is", RuntimeWarning, stacklevel=5)
