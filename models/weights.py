"""Weights for a network: seeded ones that make comparisons of outputs mean something, or a checkpoint's."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from models.probe import observed
from models.spec import SEED, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Names of tensors in a message, before the rest is only counted.
SHOWN_TENSORS = 5

#: BatchNorm's count of training batches: evaluation never reads it, and old checkpoints lack it.
UNUSED_IN_EVALUATION = "num_batches_tracked"


def seed(module: nn.Module, input_shape: Sequence[int], seed: int = SEED) -> None:
    """Gives `module` weights from `seed` with which its output depends on all of it, and on the input.

    PyTorch's own initialisation lets signals die out in deep networks, until the output is the last layer's bias
    whatever comes before. Here two images of noise of `input_shape` (N is ignored) go through the network, and
    each layer is set when they reach it:

    - convolution and linear weights are He-normal, biases small;
    - BatchNorm statistics are random around those of what arrives, its scales and shifts random too;
    - a linear layer ignores what both images have in common (to a network, images of noise are much alike), and
      is scaled to outputs of standard deviation 1.

    All randomness is from one generator on the CPU, in the order in which layers are reached. The pass is in
    double precision and measured statistics are rounded coarsely, so that machines with the same torch agree,
    whatever their CPUs do with last bits. Raises ModelError for a network with layers of other kinds.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def uniform(low: float, high: float, count: int) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    def set_convolution(layer: nn.Conv2d) -> None:
        fan_in = layer.weight[0].numel()
        layer.weight.copy_(normal(*layer.weight.shape) * math.sqrt(2 / fan_in))
        if layer.bias is not None:
            layer.bias.copy_(0.1 * normal(layer.out_channels))

    def set_batch_norm(layer: nn.BatchNorm2d, x: Tensor) -> None:
        channels = layer.num_features  # x: (N, C, H, W)
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        var = _coarse(var + 0.1 * var.mean())  # a channel that hardly moves is not blown up
        layer.get_buffer("running_mean").copy_(_coarse(mean) + 0.3 * var.sqrt() * normal(channels))
        layer.get_buffer("running_var").copy_(var * uniform(0.5, 1.5, channels))
        layer.weight.copy_(uniform(0.75, 1.25, channels))
        layer.bias.copy_(0.2 * normal(channels))

    def set_linear(layer: nn.Linear, x: Tensor) -> None:
        x = x.flatten(0, -2)  # (N, in)
        common = _coarse(x.mean(0))
        weight = normal(*layer.weight.shape)  # any scale: the next two lines set it
        weight -= torch.outer(weight @ common, common) / (common @ common)
        layer.weight.copy_(weight / _coarse((x @ weight.T).std()))
        if layer.bias is not None:
            layer.bias.copy_(0.1 * normal(layer.out_features))

    def set_layer(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        match layer:
            case nn.Conv2d():
                set_convolution(layer)
            case nn.BatchNorm2d():
                set_batch_norm(layer, inputs[0])
            case nn.Linear():
                set_linear(layer, inputs[0])
            case _:
                raise ModelError(f"no rule to seed a {type(layer).__name__}: add one to models.weights.seed")

    with_weights = [layer for layer in module.modules() if [*layer.parameters(recurse=False)]]
    module.double()
    with observed(module, [layer.register_forward_pre_hook(set_layer) for layer in with_weights]):
        module(normal(2, *input_shape[1:]))
    module.float()


def _coarse(values: Tensor) -> Tensor:
    """`values` to 8 significant bits: measured the same on any machine."""
    return values.to(torch.bfloat16).to(torch.float64)


def load(module: nn.Module, path: Path) -> None:
    """Gives `module` the weights of the checkpoint at `path`.

    A checkpoint is what `torch.save` makes of a state dict, or of {"state_dict": ...}; its names may all start
    with "module.", as a network trained on several devices saves them. Raises ModelError when the file is no
    checkpoint, and, with the names of the tensors that differ, when it does not fit; `module` is then unchanged.
    """
    tensors = _read(path)
    expected = module.state_dict()
    misfits = _misfits(tensors, expected)
    if misfits:
        raise ModelError(f"checkpoint {str(path)!r} does not fit: {'; '.join(misfits)}")
    used = {name: tensor for name, tensor in tensors.items() if _is_used(name)}
    module.load_state_dict(used, strict=False)  # nothing can be missing now but what is not used


def _read(path: Path) -> dict[str, Tensor]:
    refusal = f"{str(path)!r} is not a checkpoint (save one with torch.save(network.state_dict(), file))"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # guesses at what other kind of file this may be
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"no checkpoint at {str(path)!r}") from None
    except OSError as error:
        raise ModelError(f"checkpoint {str(path)!r} cannot be read: {error.strerror}") from None
    except Exception as error:  # torch.load has no error of its own: what it raises depends on what the bytes look like
        raise ModelError(f"{refusal}: {_first_line(error)}") from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{refusal}: it holds a {type(content).__name__}, not named tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(f"{refusal}: its entry {name!r} is a {type(value).__name__}, not a tensor")
    tensors = cast("dict[str, Tensor]", content)
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]


def _misfits(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """What keeps `tensors` from being loaded where `expected` is, as clauses of a message."""
    missing = [name for name in expected if name not in tensors and _is_used(name)]
    unexpected = [name for name in tensors if name not in expected and _is_used(name)]
    reshaped = [
        f"{name} {_shape(tensors[name])} instead of {_shape(expected[name])}"
        for name in expected
        if name in tensors and tensors[name].shape != expected[name].shape and _is_used(name)
    ]
    clauses = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    return [f"{clause}: {_shortened(items)}" for clause, items in clauses.items() if items]


def _is_used(name: str) -> bool:
    return not name.endswith(UNUSED_IN_EVALUATION)


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"


def _shortened(items: list[str]) -> str:
    rest = len(items) - SHOWN_TENSORS
    return ", ".join(items[:SHOWN_TENSORS]) + (f" and {rest} more" if rest > 0 else "")
