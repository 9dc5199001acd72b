"""The same network gives the same file, whatever the CPU can do and however many threads there are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from export.inputs import Port, draw
from export.onnx import batch_norms
from export.precision import _outwards
from export.verify import run_onnx
from models import registry, weights
from models.noise import BELL, Noise
from toolchain.paths import REPOSITORY

ROOT = REPOSITORY

#: What makes this machine's libraries take the kernels that they would on others, as far as it has these features.
MACHINES = {
    "as it is": {"OMP_NUM_THREADS": "1"},
    "without AVX-512": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512DQ,-AVX512VL",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "OMP_NUM_THREADS": "3",
    },
    "without FMA": {
        "ATEN_CPU_CAPABILITY": "default",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F,-AVX512DQ,-AVX512VL,-ERMS",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Nehalem",
        "OMP_NUM_THREADS": "2",
    },
}

#: Exports the registry's networks that are named, and a small one with all that weights are seeded in.
_EXPORT = """
import sys
from pathlib import Path
from export.pipeline import ExportOptions, export_model
from models import registry
from models.spec import ModelSpec

mixed = ModelSpec("mixed", "a small network", "test", "tests.export.test_same_bytes:mixed", (1, 3, 24, 24), "this test")
for spec in [mixed, *map(registry.get, sys.argv[2].split(","))]:
    for precision in ("fp32", "fp16"):
        export_model(spec, Path(sys.argv[1]), ExportOptions(precision=precision))
"""


def mixed() -> nn.Module:
    """Convolutions of each kind of kernel, with and without a bias, response normalisation, pools, a linear layer."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.LocalResponseNorm(5)),
        *(nn.Conv2d(16, 48, 1), nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.Conv2d(48, 40, 3, groups=4), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 30)),
    )


def exported(models: str, folder: Path) -> dict[str, dict[str, bytes]]:
    """By machine and by artifact, the model and its input; all machines at once."""
    numpy = np._core._multiarray_umath  # it refuses to be without what it was built for, and warns of what is unknown
    known = {name for name in numpy.__cpu_dispatch__ if numpy.__cpu_features__[name]}
    running = {}
    for machine, variables in MACHINES.items():
        off = [name for name in variables.get("NPY_DISABLE_CPU_FEATURES", "").split() if name in known]
        env = {**os.environ, **variables, "NPY_DISABLE_CPU_FEATURES": " ".join(off), "PYTHONHASHSEED": "random"}
        command = [sys.executable, "-c", _EXPORT, str(folder / machine), models]
        running[machine] = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
    found = {}
    for machine, process in running.items():
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        files = [path for name in ("model.onnx", "input.f32") for path in (folder / machine).glob(f"*/{name}")]
        found[machine] = {str(path.relative_to(folder / machine)): path.read_bytes() for path in sorted(files)}
    return found


def require_same(found: dict[str, dict[str, bytes]], networks: int) -> None:
    first, *others = found.values()
    assert len(first) == 2 * 2 * networks
    for machine, other in zip([*MACHINES][1:], others, strict=True):
        assert [name for name in first if first[name] != other.get(name)] == [], machine


def test_an_export_has_the_same_bytes_whatever_the_cpu(tmp_path: Path) -> None:
    require_same(exported("clcnet-tiny", tmp_path), 2)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_export_has_the_same_bytes_whatever_the_cpu(tmp_path: Path) -> None:
    require_same(exported(",".join(registry.names()), tmp_path), 1 + len(registry.names()))


# Why it is so


def test_no_sum_is_rounded_while_weights_are_seeded() -> None:
    """The same pass in another order of additions, channels and pixels reversed, gives the same weights."""
    network = nn.Sequential(nn.Conv2d(3, 400, 3), nn.BatchNorm2d(400), nn.ReLU(), nn.Conv2d(400, 8, 3))
    met: list[torch.Tensor] = []
    network[3].register_forward_hook(lambda _layer, inputs, output: met.extend((inputs[0], output)))
    weights.seed(network, (1, 3, 12, 12))
    x, output = met
    wide = network[3].double()
    with torch.no_grad():
        flipped = nn.functional.conv2d(x.flip(1, 2, 3), wide.weight.flip(1, 2, 3), wide.bias).flip(2, 3)
    assert torch.equal(flipped, output)


def test_seeded_convolutions_are_short_enough_to_be_exact_in_float32() -> None:
    network = nn.Sequential(nn.Conv2d(3, 40, 3))
    weights.seed(network, (1, 3, 12, 12))
    mantissas, _ = np.frexp(network[0].weight.detach().numpy())
    assert np.array_equal(mantissas * 2**19, np.rint(mantissas * 2**19))
    assert len(np.unique(mantissas)) > 100


def test_noise_is_this_noise() -> None:
    """Known numbers: another stream would be another network."""
    assert Noise(0).bell((2, 4)).tolist() == [[236, 97, 44, -382], [-114, -71, 117, 127]]
    assert Noise(0).whole(2, (6,)).tolist() == [Noise(0).whole(256, (6,))[place] % 2 for place in range(6)]


def test_noise_is_nearly_normal() -> None:
    values = Noise(3).normal((200_000,))
    assert abs(values.mean()) < 0.01
    assert values.std() == pytest.approx(1, abs=0.01)
    assert np.mean(np.abs(values) < 1) == pytest.approx(0.683, abs=0.01)
    assert np.abs(values).max() < 1021 / BELL
    assert not np.array_equal(Noise(4).normal((9,)), values[:9])


def test_reference_inputs_are_not_what_the_weights_were_made_with() -> None:
    [x] = draw([Port("float32", (1, 3, 8, 8), "x")]).values()
    assert not np.array_equal(x, Noise(0).normal(x.shape).astype(np.float32))


# BatchNorms


def normalised(*, bias: bool, second_reader: bool = False, training: int = 0) -> onnx.ModelProto:
    noise = Noise(1)
    values = {
        "w": noise.normal((6, 4, 3, 3)),
        **({"b": noise.normal((6,))} if bias else {}),
        "gain": noise.normal((6,)),
        "shift": noise.normal((6,)),
        "mean": noise.normal((6,)),
        "var": noise.uniform(0.5, 2, 6),
    }
    outputs = ["y", *(["mean2", "var2"] if training else [])]
    nodes = [
        helper.make_node("Conv", ["x", "w", *(["b"] if bias else [])], ["c"]),
        helper.make_node(
            "BatchNormalization", ["c", "gain", "shift", "mean", "var"], outputs, epsilon=0.25, training_mode=training
        ),
        *([helper.make_node("Relu", ["c"], ["z"])] if second_reader else []),
    ]
    ports = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "z")}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 5, 5))],
        [ports["y"], *([ports["z"]] if second_reader else [])],
        [numpy_helper.from_array(of.astype(np.float32), name) for name, of in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_batch_norm_is_folded_and_computes_the_same(bias: bool, tmp_path: Path) -> None:
    model = normalised(bias=bias)
    onnx.save(model, tmp_path / "whole.onnx")
    batch_norms.fold(model)
    onnx.save(model, tmp_path / "folded.onnx")
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    x = Noise(2).normal((1, 4, 5, 5)).astype(np.float32)
    whole, folded = (run_onnx(tmp_path / f"{name}.onnx", x) for name in ("whole", "folded"))
    np.testing.assert_allclose(folded, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [normalised(bias=True, second_reader=True), normalised(bias=True, training=1)],
    ids=["its input is read elsewhere", "in training"],
)
def test_a_batch_norm_that_cannot_be_folded_stays(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    batch_norms.fold(model)
    assert model.SerializeToString() == before


# int8


def test_ends_of_ranges_are_widened_to_few_bits_and_rounding_does_not_move_them() -> None:
    ends = Noise(5).normal((1000,)).astype(np.float32)
    wide = _outwards(ends)
    assert np.all(np.abs(wide) >= np.abs(ends) * (1 - 2e-5))
    assert np.all(np.abs(wide) <= np.abs(ends) * (1 + 1 / 16))
    assert np.mean(_outwards(ends * np.float32(1 + 3e-7)) == wide) > 0.999
    round_numbers = np.array([0, 6, 1, -2, 0.5], np.float32)
    for factor in (1, 1 + 3e-7, 1 - 3e-7):
        assert np.array_equal(_outwards(round_numbers * np.float32(factor)), round_numbers)
