"""Seeded weights say something about the whole network; checkpoints fit or are refused."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import registry, weights
from models.clcnet import CLCNet, Interlace, clcnet_b, clcnet_tiny
from models.probe import one_thread
from models.registry import REGISTRY
from models.spec import ModelError, ModelSpec

#: The largest error that export and harness let pass, as a part of the output's spread.
RELATIVE_TOLERANCE = 1e-3

every_model = pytest.mark.parametrize("spec", REGISTRY, ids=lambda spec: spec.name)
each_kind = pytest.mark.parametrize(
    "spec",
    [
        spec if spec.name in ("clcnet-tiny", "shufflenet") else pytest.param(spec, marks=pytest.mark.long)
        for spec in REGISTRY
    ],
    ids=[spec.name for spec in REGISTRY],
)


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """PyTorch on one thread, so that tests do not wait for cores that other processes keep busy."""
    with one_thread():
        yield


@cache
def seeded(spec: ModelSpec) -> nn.Module:
    network = spec.build().eval()
    weights.seed(network, spec.input_shape)
    return network


def tiny(seed: int) -> nn.Module:
    network = clcnet_tiny().eval()
    weights.seed(network, registry.get("clcnet-tiny").input_shape, seed)
    return network


def noise(spec: ModelSpec, seed: int) -> Tensor:
    return torch.randn(spec.input_shape, generator=torch.Generator().manual_seed(seed))


def output(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = network(x)
    return result


def spread(values: Tensor) -> float:
    return float(values.max() - values.min())


def difference(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a part of the spread of the first."""
    return float((one - other).abs().max()) / spread(one)


def same(one: nn.Module, other: nn.Module) -> bool:
    others = other.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in one.state_dict().items())


# Seeded weights


@each_kind
def test_another_input_gives_another_output(spec: ModelSpec) -> None:
    reference = output(seeded(spec), noise(spec, 1))
    assert difference(reference, output(seeded(spec), noise(spec, 2))) > 0.1
    assert difference(reference, output(seeded(spec), torch.zeros(spec.input_shape))) > 0.1
    assert difference(reference, output(seeded(spec), noise(spec, 1).flip(3))) > 0.1


@every_model
def test_classes_differ_by_more_than_the_last_bias(spec: ModelSpec) -> None:
    network = seeded(spec)
    values = output(network, noise(spec, 1))
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    assert values.std() > 5 * last.bias.std()
    assert len(values.unique()) == values.numel()


@every_model
def test_the_parameters_of_every_layer_show_in_the_output(spec: ModelSpec) -> None:
    """To first order, parameters that are off by their own size move the output by more than any tolerance."""
    network = seeded(spec)
    values = network(noise(spec, 1))
    signs = torch.randn(values.shape, generator=torch.Generator().manual_seed(2)).sign()
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = torch.autograd.grad((values * signs).sum() / math.sqrt(values.numel()), parameters)
    for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
        moved = float((gradient * parameter.detach()).norm())
        assert moved > 5 * RELATIVE_TOLERANCE * spread(values.detach()), name


@every_model
def test_signals_neither_die_out_nor_grow(spec: ModelSpec) -> None:
    for layer in seeded(spec).modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_var is not None
            assert layer.running_var.min() > 1e-3
            assert layer.running_var.max() < 1e3


def test_any_interlace_that_is_missing_shows_in_the_output() -> None:
    network = tiny(0)
    assert isinstance(network, CLCNet)
    x = noise(registry.get("clcnet-tiny"), 1)
    reference = output(network, x)
    for block in network.blocks:
        assert isinstance(block[2], Interlace)
        block[2], kept = nn.Identity(), block[2]
        assert difference(reference, output(network, x)) > 0.1
        block[2] = kept


def test_the_same_seed_gives_the_same_weights_whatever_else_is_random() -> None:
    one = tiny(0)
    torch.manual_seed(123)
    assert same(one, tiny(0))
    assert not same(one, tiny(1))


def test_the_same_seed_gives_the_same_weights_on_any_number_of_threads() -> None:
    one = tiny(0)
    torch.set_num_threads(2)  # `calm` sets it back
    assert same(one, tiny(0))


def test_seeding_leaves_single_precision_and_no_hooks() -> None:
    network = clcnet_tiny().train()
    weights.seed(network, (1, 3, 64, 64))
    assert network.training
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    assert not any(layer._forward_pre_hooks for layer in network.modules())


def test_a_layer_that_seeding_knows_nothing_of_is_refused() -> None:
    with pytest.raises(ModelError, match="no rule to seed a PReLU"):
        weights.seed(nn.Sequential(nn.Conv2d(3, 4, 1), nn.PReLU()), (1, 3, 8, 8))


# Checkpoints


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "in state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."], ids=["bare", "module."])
def test_a_checkpoint_is_loaded(checkpoint: Path, prefix: str, wrapped: bool) -> None:
    trained = tiny(7)
    tensors: dict[str, Any] = {prefix + name: tensor for name, tensor in trained.state_dict().items()}
    torch.save({"epoch": 100, "state_dict": tensors} if wrapped else tensors, checkpoint)
    network = tiny(0)
    weights.load(network, checkpoint)
    assert same(network, trained)


def test_a_checkpoint_without_counts_of_training_batches_is_loaded(checkpoint: Path) -> None:
    trained = tiny(7)
    tensors = {name: t for name, t in trained.state_dict().items() if "num_batches_tracked" not in name}
    assert len(tensors) < len(trained.state_dict())
    torch.save(tensors, checkpoint)
    network = tiny(0)
    weights.load(network, checkpoint)
    assert same(network, trained)


def test_a_checkpoint_that_does_not_fit_is_refused_by_tensor_name(checkpoint: Path) -> None:
    tensors = dict(tiny(7).state_dict())
    del tensors["blocks.0.0.weight"]
    tensors["extra.weight"] = torch.zeros(3)
    tensors["classifier.weight"] = torch.zeros(10, 256)
    torch.save(tensors, checkpoint)
    network, untouched = tiny(0), tiny(0)
    with pytest.raises(ModelError) as refused:
        weights.load(network, checkpoint)
    assert str(refused.value) == (
        f"checkpoint {str(checkpoint)!r} does not fit: missing: blocks.0.0.weight; unexpected: extra.weight; "
        "of another shape: classifier.weight (10, 256) instead of (100, 256)"
    )
    assert same(network, untouched)


def test_a_long_list_of_tensors_is_shortened(checkpoint: Path) -> None:
    torch.save(clcnet_b().state_dict(), checkpoint)
    with pytest.raises(ModelError, match=r"unexpected: (\S+, ){4}\S+ and \d+ more; of another shape") as refused:
        weights.load(tiny(0), checkpoint)
    assert "\n" not in str(refused.value)


class Mischief:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("mischief",)


def bytes_of(content: object, path: Path) -> bytes:
    torch.save(content, path)
    return path.read_bytes()


UNREADABLE = {
    "an empty file": lambda _: b"",
    "text": lambda _: b"these are not the weights you are looking for\n" * 100,
    "a checkpoint cut short": lambda path: bytes_of(tiny(0).state_dict(), path)[:-5000],
    "a whole network": lambda path: bytes_of(tiny(0), path),
    "a list": lambda path: bytes_of([torch.zeros(3)], path),
    "nothing named": lambda path: bytes_of({}, path),
    "numbers": lambda path: bytes_of({"epoch": 3}, path),
    "a pickle that does something": lambda _: pickle.dumps(Mischief()),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_checkpoint_is_refused_in_one_line(
    checkpoint: Path, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    checkpoint.write_bytes(content(checkpoint))
    with pytest.raises(ModelError, match="is not a checkpoint") as refused:
        weights.load(tiny(0), checkpoint)
    assert "\n" not in str(refused.value)
    assert str(checkpoint) in str(refused.value)
    assert not Path("mischief").exists()


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no checkpoint at"):
        weights.load(tiny(0), tmp_path / "nowhere.pth")
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        weights.load(tiny(0), tmp_path)
