"""How a network answers through one of its layers: hooks, layouts, token grids.

The hook sits on the layer's output TENSOR, never on gradients of modules: it hands a copy downstream, so an in-place
activation behind the layer cannot overwrite what was kept, and it is removed as soon as the forward pass ends, also
by an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from advcam.attribution.response import DenseResponse, GradientResponse, LinearResponse, Response
from advcam.errors import ModelError

Layout = Literal["NCHW", "NHWC", "tokens"]


@contextmanager
def captured(layer: nn.Module) -> Iterator[list[Tensor]]:
    """While it lasts, each call of `layer` appends its output, in the graph and safe from in-place changes."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
        # Without a gradient to the picture (no climb), the graph begins here: a backward pass stops at this layer.
        tensor = output if output.requires_grad else output.detach().requires_grad_()
        outputs.append(tensor)
        return tensor.clone()

    handle = layer.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()


def score_tensor(output: object) -> Tensor:
    """The score tensor in what a network returns: a tensor, `.logits`, a mapping with it, or the first of a tuple.

    Raises:
        ModelError: None of these, or not two or four dimensions.
    """
    found: object = getattr(output, "logits", output)
    if isinstance(found, dict):
        found = found.get("logits", found.get("out"))
    if isinstance(found, tuple | list) and found:
        found = found[0]
    if isinstance(found, Tensor) and found.ndim in (2, 4):
        return found
    got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(output).__name__
    raise ModelError(f"the network must return class scores (N, K) or class maps (N, K, h, w); got {got}")


@dataclass(frozen=True)
class LayerResponder:
    """Answers through a feature layer.

    Args:
        layer: Name of the module whose output are the features.
        layout: "NCHW", "NHWC" (Swin), or "tokens" (N, prefix + h w, F).
        head: Name of the linear (or 1x1 convolution) head behind global average pooling; None for any other head.
        rectified: Whether a ReLU lies between the layer and the pooling.
        prefix_tokens: Class and register tokens before the grid ("tokens" only).
        patch: (height, width) of a token in pixels ("tokens" only).
    """

    layer: str
    layout: Layout = "NCHW"
    head: str | None = None
    rectified: bool = False
    prefix_tokens: int = 0
    patch: tuple[int, int] = (1, 1)

    def __call__(self, module: nn.Module, inputs: Tensor) -> Response:
        """Run the network once."""
        with captured(module.get_submodule(self.layer)) as outputs:
            scores = score_tensor(module(inputs))
        if not outputs:
            raise ModelError(f"the layer {self.layer!r} took no part in the forward pass; name another feature_layer")
        return self.response(module, inputs, scores, outputs[-1])

    def response(self, module: nn.Module, inputs: Tensor, scores: Tensor, layer: Tensor) -> Response:
        """What a pass of the network says.

        Args:
            module: The network, for the weights of its head.
            inputs: What it was given, (B, 3, H, W).
            scores: What it returned, (B, K) or (B, K, h, w).
            layer: Output of the feature layer in that pass, in its own layout.
        """
        grid = (inputs.shape[-2] // self.patch[0], inputs.shape[-1] // self.patch[1])

        def to_grid(tensor: Tensor) -> Tensor:
            return as_grid(tensor, self.layout, grid, self.prefix_tokens)

        if self.head is None:
            return GradientResponse(scores, layer, to_grid)
        head = module.get_submodule(self.head)
        assert isinstance(head, nn.Linear | nn.Conv2d)  # noqa: S101, for the type checker: the probe chose it so
        return LinearResponse(
            scores if scores.ndim == 2 else scores.mean(dim=(2, 3)),
            layer,
            to_grid,
            head.weight.flatten(1),
            head.bias,
            self.rectified,
        )


@dataclass(frozen=True)
class MapResponder:
    """Answers for a network that returns class maps (N, K, h, w): the score is their mean."""

    def __call__(self, module: nn.Module, inputs: Tensor) -> Response:
        """Run the network once."""
        return DenseResponse(score_tensor(module(inputs)))


def as_grid(tensor: Tensor, layout: Layout, grid: tuple[int, int], prefix_tokens: int) -> Tensor:
    """Features in any layout as (N, F, h, w).

    Raises:
        ModelError: The tokens do not fill the grid.
    """
    if layout == "NCHW":
        return tensor
    if layout == "NHWC":
        return tensor.permute(0, 3, 1, 2)
    tokens = tensor[:, prefix_tokens:]
    if tokens.shape[1] != grid[0] * grid[1]:
        raise ModelError(
            f"{tensor.shape[1]} tokens minus {prefix_tokens} prefix tokens do not fill a grid of {grid[0]} x "
            f"{grid[1]}; pass prefix_tokens (and patch) to Classifier.from_module, or choose another feature_layer"
        )
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)


def all_finite(module: nn.Module) -> str | None:
    """Name of the first parameter or buffer that holds NaN or infinity, or None."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return name
    return None
