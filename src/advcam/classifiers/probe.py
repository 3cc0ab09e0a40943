"""Finding the head and the feature layer of any classifier: run it once and look.

Names and class hierarchies differ from library to library; what a GAP + linear head computes does not. One random
picture goes through the network while every module's output is noted. If the input of the last linear layer is
the mean over positions of some module's output, that module is the feature layer and the class map is W f. Otherwise
the feature layer is the last one that is spatial, not pooled, and whose positions all influence the score.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advcam.classifiers.layers import LayerResponder, Layout, MapResponder, as_grid, captured, score_tensor
from advcam.errors import ModelError

#: Sizes tried in turn, (H, W): not square, so that height and width can be told apart; 196 for patches of 14 pixels.
PROBE_SIZES = ((224, 192), (224, 196))
POOLING = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Dropout,
    nn.Identity,
    nn.Flatten,
)


@dataclass(frozen=True)
class Note:
    """One call of one module: its name, its first input and its output (copies)."""

    name: str
    module: nn.Module
    input: Tensor | None
    output: Tensor


@dataclass(frozen=True)
class Probe:
    """What one forward pass showed: the input, the scores, and each module's calls in the order they ended."""

    inputs: Tensor
    scores: Tensor
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class TokenGrid:
    """How a transformer cuts a picture: patch size in pixels and number of prefix tokens (None: not stated)."""

    patch: tuple[int, int]
    prefix_tokens: int | None


def probe(module: nn.Module, size: tuple[int, int], like: Tensor) -> Probe:
    """Send one random picture (1, 3, *size) through the network and note all calls; `like` gives device and dtype."""
    noise = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0)) * 2 - 1
    inputs = noise.to(like)
    notes: list[Note] = []

    def note(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def hook(layer: nn.Module, args: tuple[object, ...], output: object) -> None:
            if isinstance(output, Tensor):
                first = args[0].detach().clone() if args and isinstance(args[0], Tensor) else None
                notes.append(Note(name, layer, first, output.detach().clone()))

        return hook

    handles = [layer.register_forward_hook(note(name)) for name, layer in module.named_modules() if name]
    try:
        with torch.no_grad():
            scores = score_tensor(module(inputs))
    finally:
        for handle in handles:
            handle.remove()
    return Probe(inputs, scores, tuple(notes))


def find_responder(
    module: nn.Module, seen: Probe, feature_layer: str | None, prefix_tokens: int | None
) -> LayerResponder | MapResponder:
    """How to read class maps off a network (in evaluation mode).

    Args:
        module: The network.
        seen: What `probe` saw.
        feature_layer: The user's choice, or None.
        prefix_tokens: Of a transformer, or None to read it from the model.

    Raises:
        ModelError: No layer of that name, or none that can serve.
    """
    if seen.scores.ndim == 4 and feature_layer is None:
        return MapResponder()
    candidates = list(_candidates(module, seen, feature_layer, prefix_tokens))
    head = _linear_head(seen)
    for candidate in candidates if head else ():
        assert head is not None and head.input is not None  # noqa: S101, PT018, for the type checker
        linear = _as_linear(candidate, seen, head.name, head.input)
        if linear is not None:
            return linear
    width = candidates[0].note.output.shape[-1] if candidates else 0
    for candidate in candidates:
        chosen = feature_layer is not None
        if chosen or (_may_serve(candidate, seen, width) and _reached(module, seen, candidate.responder)):
            return candidate.responder
    raise ModelError(_nothing_found(seen, feature_layer))


@dataclass(frozen=True)
class _Candidate:
    note: Note
    responder: LayerResponder

    def features(self, seen: Probe) -> Tensor:
        grid = tuple(side // unit for side, unit in zip(seen.inputs.shape[-2:], self.responder.patch, strict=True))
        return as_grid(self.note.output, self.responder.layout, (grid[0], grid[1]), self.responder.prefix_tokens)


def _candidates(
    module: nn.Module, seen: Probe, feature_layer: str | None, prefix_tokens: int | None
) -> Iterator[_Candidate]:
    """Calls with a spatial output, the last first."""
    names = {name for name, _ in module.named_modules()}
    if feature_layer is not None and feature_layer not in names:
        raise ModelError(
            f"the network has no layer {feature_layer!r}; its top layers are {', '.join(_children(module))}"
        )
    grid = token_grid(module)
    for note in reversed(seen.notes):
        if feature_layer not in (None, note.name):
            continue
        responder = _layout(note, seen, grid, prefix_tokens)
        if responder is not None:
            yield _Candidate(note, responder)


def _layout(note: Note, seen: Probe, grid: TokenGrid | None, prefix_tokens: int | None) -> LayerResponder | None:
    """How the output of a call lies in space, or None if it does not."""
    shape, height, width = note.output.shape, seen.inputs.shape[-2], seen.inputs.shape[-1]
    if len(shape) == 4:
        for layout, (rows, columns) in _image_layouts(shape):
            # Same proportions as the picture up to rounding, and more than one position.
            if rows * columns > 1 and abs(rows * width - columns * height) <= max(height, width):
                return LayerResponder(note.name, layout)
    if len(shape) == 3 and grid is not None:
        positions = (height // grid.patch[0]) * (width // grid.patch[1])
        prefix = prefix_tokens if prefix_tokens is not None else grid.prefix_tokens
        prefix = shape[1] - positions if prefix is None else prefix
        if 0 <= prefix == shape[1] - positions and positions > 1:
            return LayerResponder(note.name, "tokens", prefix_tokens=prefix, patch=grid.patch)
    return None


def _image_layouts(shape: torch.Size) -> list[tuple[Layout, tuple[int, int]]]:
    return [("NCHW", (shape[2], shape[3])), ("NHWC", (shape[1], shape[2]))]


def _linear_head(seen: Probe) -> Note | None:
    """The last linear layer or 1x1 convolution, if its output (or the mean of it) is the score."""
    scores = seen.scores.mean(dim=(2, 3)) if seen.scores.ndim == 4 else seen.scores
    for note in reversed(seen.notes):
        pointwise = isinstance(note.module, nn.Conv2d) and note.module.kernel_size == (1, 1) and note.module.groups == 1
        if isinstance(note.module, nn.Linear) or pointwise:
            output = note.output.mean(dim=(2, 3)) if note.output.ndim == 4 else note.output
            return note if _same(output, scores) and note.input is not None else None
    return None


def _as_linear(candidate: _Candidate, seen: Probe, head: str, taken: Tensor) -> LayerResponder | None:
    """The candidate as features of a GAP + linear head, or None if what the head took in is not made of them so."""
    features, found = candidate.features(seen), candidate.responder
    pointwise = _same(taken, features)
    for rectified in (False, True):
        mean = (features.relu() if rectified else features).mean(dim=(2, 3))
        if pointwise or _same(taken.flatten(1), mean):
            return LayerResponder(found.layer, found.layout, head, rectified, found.prefix_tokens, found.patch)
    return None


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def _may_serve(candidate: _Candidate, seen: Probe, width: int) -> bool:
    """Whether a layer is a sensible place for a class map: not pooled, and no inner projection of a transformer."""
    if candidate.responder.layout == "tokens":
        return candidate.note.output.shape[-1] == width
    output = candidate.note.output
    return not any(
        isinstance(note.module, POOLING) and note.output.shape == output.shape and torch.equal(note.output, output)
        for note in seen.notes
    )


def _reached(module: nn.Module, seen: Probe, responder: LayerResponder) -> bool:
    """Whether the score depends on most positions: a final norm with a class token passes nothing to the grid."""
    with torch.enable_grad(), captured(module.get_submodule(responder.layer)) as outputs:
        scores = score_tensor(module(seen.inputs))
        (gradient,) = torch.autograd.grad(scores.amax(dim=1).sum(), outputs[-1], allow_unused=True)
    if gradient is None:
        return False
    grid = (seen.inputs.shape[-2] // responder.patch[0], seen.inputs.shape[-1] // responder.patch[1])
    positions = as_grid(gradient, responder.layout, grid, responder.prefix_tokens).abs().sum(dim=1)
    return bool((positions > 0).float().mean() > 0.5)


def token_grid(module: nn.Module) -> TokenGrid | None:
    """Patch size and prefix tokens as the model states them (timm, torchvision, transformers), or None."""
    for owner in (module, *module.modules()):
        patch = getattr(owner, "patch_size", None)
        if patch is None:
            patch = getattr(getattr(owner, "config", None), "patch_size", None)
        if isinstance(patch, int):
            return TokenGrid((patch, patch), _prefix_tokens(module))
        if isinstance(patch, tuple | list) and len(patch) == 2:
            return TokenGrid((int(patch[0]), int(patch[1])), _prefix_tokens(module))
    return None


def _prefix_tokens(module: nn.Module) -> int | None:
    stated = getattr(module, "num_prefix_tokens", None)
    return int(stated) if isinstance(stated, int) else None


def _children(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_children()]


def _nothing_found(seen: Probe, feature_layer: str | None) -> str:
    if feature_layer is not None:
        shapes = [tuple(note.output.shape) for note in seen.notes if note.name == feature_layer]
        got = f"gives {shapes[-1]}" if shapes else "gives no tensor"
        return (
            f"the layer {feature_layer!r} {got} for a picture of {tuple(seen.inputs.shape)}, which is no grid of "
            "features (N, F, h, w), (N, h, w, F) or (N, tokens, F) of a model that states its patch size"
        )
    return (
        "no layer with a grid of features was found; name one with feature_layer=..., or give the network's own class "
        "maps with responder=..."
    )
