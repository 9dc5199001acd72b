"""Weights for a network: seeded ones that make comparisons of outputs mean something, or a checkpoint's."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from models.noise import BELL, Noise
from models.probe import observed
from models.spec import SEED, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

#: A choice: with two, the outputs for others spread four times as far in one network as in another.
IMAGES = 4

#: What reaches a layer while it is seeded is rounded to multiples of GRID and cut off at LARGEST: 18 bits. A weight has
#: at most 18 (11 of `Noise.bell`, times 8), the largest layers add 2^13 products: 49 bits of the 53 that a double has.
GRID = 2.0**-10
LARGEST = 2.0**8 - GRID

#: Names of tensors in a message, before the rest is only counted.
SHOWN_TENSORS = 5

#: BatchNorm's count of training batches: evaluation never reads it, and old checkpoints lack it.
UNUSED_IN_EVALUATION = "num_batches_tracked"


def seed(module: nn.Module, input_shape: Sequence[int], seed: int = SEED) -> None:
    """Gives `module` weights from `seed` with which its output depends on all of it, and on the input.

    PyTorch's own initialisation lets signals die out in deep networks, until the output is the last layer's bias
    whatever comes before. Here IMAGES images of noise of `input_shape` (N is ignored) go through the network, and
    each layer is set when they reach it:

    - convolution and linear weights are He-normal, biases small;
    - BatchNorm statistics are random around those of what arrives, its scales and shifts random too;
    - a linear layer ignores what all images have in common (to a network, images of noise are much alike), and
      is scaled to outputs of standard deviation 1.

    All randomness is from one stream, in the order in which layers are reached. The weights are the same to the last
    bit on any CPU, with any number of threads: weights and what reaches a layer are whole multiples of a power of two
    that are so short that no sum of their products is rounded in double precision, in whichever order a library's
    kernel adds them; all else is single operations of IEEE 754 (+ - * / and roots), an element at a time. What a layer
    without weights computes in another way (the powers of response normalisation) may differ by 1e-16 of itself; that
    changes a weight with a chance of some 1e-6 a network. Raises ModelError for a network with layers of other kinds.
    """
    noise = Noise(seed)
    with_weights = [layer for layer in module.modules() if [*layer.parameters(recurse=False)]]

    def set_layer(layer: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        x = _on_grid(inputs[0].numpy())
        match layer:
            case nn.Conv2d():
                _set_convolution(layer, noise)
            case nn.BatchNorm2d():
                _set_batch_norm(layer, noise, x)
            case nn.Linear():
                _set_linear(layer, noise, x)
            case _:
                raise ModelError(f"no rule to seed a {type(layer).__name__}: add one to models.weights.seed")
        return torch.from_numpy(x)

    module.double()
    hooks = [layer.register_forward_pre_hook(set_layer) for layer in with_weights]
    hooks += [layer.register_forward_hook(_normalised) for layer in with_weights if isinstance(layer, nn.BatchNorm2d)]
    with observed(module, hooks):
        module(torch.from_numpy(noise.normal((IMAGES, *input_shape[1:]))))
    module.float()


def _set_convolution(layer: nn.Conv2d, noise: Noise) -> None:
    fan_in = layer.weight[0].numel()
    _fill(layer.weight, noise.bell(layer.weight.shape) * _coarse(math.sqrt(2 / fan_in) / BELL))
    if layer.bias is not None:
        _fill(layer.bias, noise.bell(layer.bias.shape) * _coarse(0.1 / BELL))


def _set_batch_norm(layer: nn.BatchNorm2d, noise: Noise, x: NDArray[np.float64]) -> None:
    channels = layer.num_features  # x: (N, C, H, W)
    mean, var = _moments(x, (0, 2, 3))
    var = _coarse(var + 0.1 * (math.fsum(var) / channels))  # a channel that hardly moves is not blown up
    _fill(layer.get_buffer("running_mean"), _coarse(mean) + 0.3 * np.sqrt(var) * noise.normal((channels,)))
    _fill(layer.get_buffer("running_var"), var * noise.uniform(0.5, 1.5, channels))
    _fill(layer.weight, noise.uniform(0.75, 1.25, channels))
    _fill(layer.bias, 0.2 * noise.normal((channels,)))


def _set_linear(layer: nn.Linear, noise: Noise, x: NDArray[np.float64]) -> None:
    x = x.reshape(-1, x.shape[-1])  # (N, in)
    common = _on_grid(x.mean(0))
    weight = noise.bell(layer.weight.shape)  # any scale: what follows sets it
    rest = weight - (weight @ common / (common @ common))[:, np.newaxis] * common
    rest = np.rint(16 * rest) / 16  # short again
    _, var = _moments(_on_grid(x @ rest.T / BELL), (0, 1))
    _fill(layer.weight, rest * _coarse(1 / (BELL * np.sqrt(var))))
    if layer.bias is not None:
        _fill(layer.bias, noise.bell(layer.bias.shape) * _coarse(0.1 / BELL))


def _normalised(layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
    """What a BatchNorm2d gives, a rounding after each operation; PyTorch's kernel may leave some out (FMA)."""
    tensors = (layer.get_buffer("running_mean"), layer.get_buffer("running_var"), *layer.parameters(recurse=False))
    mean, var, weight, bias = (tensor.numpy()[:, np.newaxis, np.newaxis] for tensor in tensors)  # (C, 1, 1)
    eps = cast("nn.BatchNorm2d", layer).eps
    values = inputs[0].numpy() - mean
    values *= weight / np.sqrt(var + eps)
    values += bias
    return torch.from_numpy(values)


def _fill(tensor: Tensor, values: NDArray[Any]) -> None:
    tensor.copy_(torch.from_numpy(values))


def _on_grid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """`x` to whole multiples of GRID, none beyond LARGEST."""
    values: NDArray[np.float64] = x / GRID
    np.rint(values, out=values)
    values *= GRID
    return np.clip(values, -LARGEST, LARGEST, out=values)


def _moments(x: NDArray[np.float64], axes: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance along `axes` of values on the grid: both sums are exact."""
    total, squares = x.sum(axes), (x * x).sum(axes)
    count = math.prod(x.shape[axis] for axis in axes)
    mean = total / count
    return mean, (squares - total * mean) / (count - 1)


def _coarse(values: Any) -> Any:
    """`values` to 8 significant bits."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(mantissa * 256) / 256, exponent)


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
