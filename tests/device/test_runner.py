"""The native runner: the real binary with real ONNX files (device/runner/PROTOCOL.md)."""

from __future__ import annotations

import json
import os
import platform
import shlex
import signal
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from programs import PATIENCE_S

from device import bundle as bundles
from device.device import Device, Opening
from device.errors import ModelRefused, RunnerCrashed, RunnerFailed
from device.host import HostDevice
from device.open import open_devices
from device.records import Bundle, Measurement, RunRequest
from device.runner_call import arguments, conclude
from device.statuses import EXIT_STATUSES
from device.wire import Event, Hello, Transcript
from export.artifact import Artifact
from export.pipeline import ExportOptions, export_model
from harness.measure.case import Run, measure
from harness.measure.networks import ExportedNetwork
from harness.record import runtimes
from harness.record.case import Case
from harness.record.plan import CaseRound
from harness.record.runtimes import ONNXRUNTIME, build_bundle
from models import registry
from toolchain import compile as compiling
from toolchain import xnnpack
from toolchain.files import File, local_file
from toolchain.paths import EXPORTS
from toolchain.tensors import ELEMENT_BYTES, ElementType, InputTensor, TensorType

FEATURES, CLASSES = 6, 4
MANY_PASSES = "1000000"  # more events than any pipe holds


@dataclass(frozen=True)
class Ended:
    exit_status: int
    lines: list[bytes]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@dataclass(frozen=True)
class Runner:
    """The bundle of this machine, and a folder with files for it."""

    bundle: Bundle
    folder: Path

    @property
    def program(self) -> list[str]:
        return bundles.command(self.bundle, str(self.bundle.files[0].path.parent))

    def options(self, **changed: str) -> list[str]:
        values = {
            "model": str(self.folder / "linear.onnx"),
            "input": str(self.folder / "input.bin"),
            "shape": f"1,{FEATURES}",
            "output": str(self.folder / "output.bin"),
        } | changed
        return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", value)]

    def run(self, *more: str, **changed: str) -> Ended:
        return ended([*self.program, *self.options(**changed), *more])


def ended(command: list[str]) -> Ended:
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    return Ended(done.returncode, done.stdout.splitlines())


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return build_bundle(compiling.native().abi)


@pytest.fixture
def runner(bundle: Bundle, tmp_path: Path) -> Iterator[Runner]:
    onnx.save(linear([1, FEATURES]), tmp_path / "linear.onnx")
    (tmp_path / "input.bin").write_bytes(input_values().tobytes())
    yield Runner(bundle, tmp_path)


def input_values() -> np.ndarray:
    return np.linspace(-1, 1, FEATURES, dtype="<f4")


def weights() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((FEATURES, CLASSES)).astype("<f4")


def linear(input_shape: list[int | str], *, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """y = x . w"""
    w = weights().astype(helper.tensor_dtype_to_np_dtype(dtype))
    return model([helper.make_node("MatMul", ["x", "w"], ["y"])], input_shape, {"w": w}, dtype=dtype)


def model(
    nodes: list[onnx.NodeProto],
    input_shape: list[int | str],
    constants: dict[str, np.ndarray],
    *,
    dtype: int = TensorProto.FLOAT,
    inputs: tuple[str, ...] = ("x",),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, dtype, input_shape) for name in inputs],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


# --- a good run ---------------------------------------------------------------------------------------


def test_a_good_run_becomes_a_measurement(runner: Runner) -> None:
    ended = runner.run("--warmup", "2", "--passes", "3")
    assert ended.exit_status == 0
    transcript = Transcript(warmup=2, passes=3)
    for line in ended.lines:
        transcript.feed(line)
    measurement = transcript.measurement()
    assert (len(measurement.warmup), len(measurement.samples)) == (2, 3)
    assert measurement.abi == runner.bundle.abi
    assert (measurement.runtime, measurement.runtime_version) == ("onnxruntime", runner.bundle.runtime_version)
    assert "CPUExecutionProvider" in measurement.providers
    assert measurement.outputs == (TensorType("float32", (1, CLASSES)),)
    assert measurement.load_ns > 0
    assert all(each.ns > 0 for each in measurement.samples)
    assert measurement.profile is None


def test_the_output_is_the_networks(runner: Runner) -> None:
    assert runner.run().exit_status == 0
    output = np.fromfile(runner.folder / "output.bin", "<f4")
    np.testing.assert_allclose(output, input_values() @ weights(), rtol=1e-5)


def test_a_model_of_any_batch_takes_the_shape_it_is_given(runner: Runner) -> None:
    onnx.save(linear(["batch", FEATURES]), runner.folder / "any.onnx")
    (runner.folder / "three.bin").write_bytes(np.tile(input_values(), 3).tobytes())
    ended = runner.run(
        model=str(runner.folder / "any.onnx"), input=str(runner.folder / "three.bin"), shape=f"3,{FEATURES}"
    )
    assert ended.exit_status == 0
    [output] = ended.events[-2]["tensors"]
    assert output == {"type": "float32", "shape": [3, CLASSES]}


def test_a_pinned_run_stays_on_its_cpu(runner: Runner) -> None:
    cpu = max(cpu for cpu in os.sched_getaffinity(0) if cpu < 64)
    ended = runner.run("--cpus", hex(1 << cpu), "--threads", "2")
    assert ended.exit_status == 0
    assert {event["cpu"] for event in ended.events if event["event"] == "pass"} == {cpu}
    assert ended.events[-1]["cpu_mask"] == 1 << cpu


def test_an_unpinned_run_may_use_the_cpus_that_this_process_may(runner: Runner) -> None:
    allowed = sum(1 << cpu for cpu in os.sched_getaffinity(0) if cpu < 64)
    assert runner.run().events[-1]["cpu_mask"] == allowed


def test_the_runner_says_which_machine_it_is_on_and_what_its_cpu_has(runner: Runner) -> None:
    hello = runner.run().events[0]
    assert hello["machine"] == platform.machine()
    in_the_kernels_words = {"neon": "asimd", "dotprod": "asimddp", "fp16": "asimdhp"}
    cpuinfo = set(Path("/proc/cpuinfo").read_text().split())
    for feature in ("neon", "dotprod", "fp16", "i8mm", "bf16", "sve", "avx2", "avx512f"):
        assert (feature in hello["cpu_features"]) == (in_the_kernels_words.get(feature, feature) in cpuinfo)


def test_counters_are_read_around_each_pass_or_the_runner_says_why_not(runner: Runner) -> None:
    ended = runner.run("--counters", "--passes", "2")
    assert ended.exit_status == 0
    error = ended.events[0]["counters_error"]
    for event in ended.events:
        if event["event"] == "pass" and error is None:
            assert event["counters"]["enabled_ns"] > 0
            assert "instructions" in event["counters"]["counts"]
        elif event["event"] == "pass":
            assert event["counters"] is None
            assert error.startswith("cannot count instructions: ")


def test_counters_that_nobody_asked_for_are_not_there_and_not_an_error(runner: Runner) -> None:
    ended = runner.run()
    assert ended.events[0]["counters_error"] is None
    assert {event["counters"] for event in ended.events if event["event"] == "pass"} == {None}


def test_the_peak_memory_is_the_runners_and_not_that_of_who_started_it(runner: Runner) -> None:
    ours = np.ones(400_000_000, dtype=np.uint8)
    ended = runner.run()
    assert ended.events[-1]["peak_rss_bytes"] < ours.nbytes


def test_the_runner_has_the_projects_version(runner: Runner) -> None:
    project = tomllib.loads((compiling.RUNNER.parent.parent / "pyproject.toml").read_text())["project"]
    assert runner.run().events[0]["runner"] == project["version"]


# --- models of any inputs and outputs -----------------------------------------------------------------


def of_several(types: dict[str, int]) -> onnx.ModelProto:
    """Each input, of shape (2, 3) but for the scalar "s", comes out again as it is; "count" is how many are not 0."""
    shapes: dict[str, list[int]] = {name: [] if name == "s" else [2, 3] for name in types}
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in types]
    outputs = [helper.make_tensor_value_info(f"{name}_out", type_, shapes[name]) for name, type_ in types.items()]
    return graph_of(
        nodes, [helper.make_tensor_value_info(name, type_, shapes[name]) for name, type_ in types.items()], outputs
    )


def graph_of(
    nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def run_on(runner: Runner, model_: onnx.ModelProto, inputs: list[np.ndarray], *more: str) -> Ended:
    """The runner on a model, with each of `inputs` as a file of its own, of its type and shape."""
    onnx.save(model_, runner.folder / "any.onnx")
    words = ["--model", str(runner.folder / "any.onnx"), "--output", str(runner.folder / "output.bin")]
    for index, values in enumerate(inputs):
        path = runner.folder / f"input-{index}.bin"
        path.write_bytes(values.astype(values.dtype.newbyteorder("<")).tobytes())
        shape = ",".join(map(str, values.shape)) or "scalar"
        words += ["--input", str(path), "--type", values.dtype.name, "--shape", shape]
    return ended([*runner.program, *words, *more])


def written(runner: Runner, run: Measurement) -> list[np.ndarray]:
    """The outputs, cut out of the one file by what the runner says of them."""
    data = (runner.folder / "output.bin").read_bytes()
    found = []
    for output in run.outputs:
        found.append(np.frombuffer(data[: output.size_bytes], output.type).reshape(output.shape))
        data = data[output.size_bytes :]
    assert not data
    return found


def test_every_element_type_goes_in_and_comes_out_bit_by_bit_in_the_models_order(runner: Runner) -> None:
    generator = np.random.default_rng(0)
    types = {name: helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in ELEMENT_BYTES}
    inputs = [
        generator.integers(0, 2, (2, 3)).astype(name)
        if name == "bool"
        else generator.integers(0, 256, (2, 3, bytes_), np.uint8).view(name).reshape(2, 3)
        for name, bytes_ in ELEMENT_BYTES.items()
    ]
    run = measured(run_on(runner, of_several(types), inputs), passes=10, profile_passes=0)
    assert run.outputs == tuple(TensorType(name, (2, 3)) for name in ELEMENT_BYTES)
    for came, went in zip(written(runner, run), inputs, strict=True):
        assert came.tobytes() == went.tobytes()


def test_a_scalar_goes_in_and_comes_out_without_a_dimension(runner: Runner) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "s"], ["scaled"]),
        helper.make_node("ReduceSum", ["scaled"], ["sum"], keepdims=0),
    ]
    model_ = graph_of(
        nodes,
        [
            helper.make_tensor_value_info("s", TensorProto.DOUBLE, []),
            helper.make_tensor_value_info("x", TensorProto.DOUBLE, [3]),
        ],
        [
            helper.make_tensor_value_info("sum", TensorProto.DOUBLE, []),
            helper.make_tensor_value_info("scaled", TensorProto.DOUBLE, [3]),
        ],
    )
    run = measured(run_on(runner, model_, [np.array(2.0), np.array([1.0, 2, 4])]), passes=10, profile_passes=0)
    assert run.outputs == (TensorType("float64", ()), TensorType("float64", (3,)))
    total, scaled = written(runner, run)
    assert total == 14
    assert scaled.tolist() == [2, 4, 8]


def test_an_output_whose_shape_follows_from_the_data_may_be_another_in_each_pass(runner: Runner) -> None:
    """How many numbers of a random tensor are positive changes from pass to pass; those that are fixed stay."""
    nodes = [
        helper.make_node("RandomUniformLike", ["x"], ["random"], low=-1.0, high=1.0),
        helper.make_node("Greater", ["random", "x"], ["is_positive"]),
        helper.make_node("NonZero", ["is_positive"], ["where"]),
        helper.make_node("Neg", ["x"], ["y"]),
    ]
    model_ = graph_of(
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1000])],
        [
            helper.make_tensor_value_info("where", TensorProto.INT64, [1, None]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1000]),
        ],
    )
    zeros = np.zeros(1000, np.float32)
    run = measured(run_on(runner, model_, [zeros], "--profile-passes", "3"), passes=10, profile_passes=3)
    where, y = written(runner, run)
    assert 300 < where.shape[1] < 700
    assert y.shape == (1000,)


def test_an_output_may_be_empty(runner: Runner) -> None:
    model_ = graph_of(
        [helper.make_node("NonZero", ["x"], ["where"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5])],
        [helper.make_tensor_value_info("where", TensorProto.INT64, None)],
    )
    run = measured(run_on(runner, model_, [np.zeros(5, np.float32)]), passes=10, profile_passes=0)
    assert run.outputs == (TensorType("int64", (1, 0)),)
    assert (runner.folder / "output.bin").read_bytes() == b""


TWO = {"ids": TensorProto.INT64, "s": TensorProto.BOOL}
IDS, FLAG = np.zeros((2, 3), np.int64), np.array(True)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([IDS], "the model's inputs are 2 (ids: int64 (2, 3), s: bool ()), --input is given for 1"),
        ([IDS, FLAG, FLAG], "--input is given for 3"),
        ([FLAG, IDS], "'ids' (number 1) takes int64 (2, 3), --type and --shape say bool ()"),
        ([IDS.astype(np.int32), FLAG], "'ids' (number 1) takes int64 (2, 3), --type and --shape say int32 (2, 3)"),
        ([IDS.T, FLAG], "'ids' (number 1) takes int64 (2, 3), --type and --shape say int64 (3, 2)"),
        ([IDS, FLAG.astype(np.uint8)], "'s' (number 2) takes bool (), --type and --shape say uint8 ()"),
    ],
    ids=[
        "one too few",
        "one too many",
        "in another order",
        "another type",
        "another shape",
        "a scalar of another type",
    ],
)
def test_inputs_that_are_not_the_models_are_refused_by_name(
    runner: Runner, inputs: list[np.ndarray], says: str
) -> None:
    check_failed(run_on(runner, of_several(TWO), inputs), "bad_input", says=says)


def test_what_is_no_tensor_of_numbers_is_refused_by_name(runner: Runner) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, FEATURES])
    text = helper.make_tensor_value_info("words", TensorProto.STRING, [1])
    same = helper.make_tensor_value_info("same", TensorProto.STRING, [1])
    model_ = graph_of([helper.make_node("Identity", ["words"], ["same"])], [text], [same])
    check_failed(run_on(runner, model_, [FLAG]), "bad_model", says="the model's input 'words' holds strings")
    several = helper.make_tensor_sequence_value_info("several", TensorProto.FLOAT, None)
    model_ = graph_of([helper.make_node("SequenceConstruct", ["x"], ["several"])], [x], [several])
    check_failed(run_on(runner, model_, [FLAG]), "bad_model", says="the model's output 'several' is no tensor")
    narrow = helper.make_tensor_value_info("narrow", TensorProto.BFLOAT16, [1, FEATURES])
    cast = helper.make_node("Cast", ["x"], ["narrow"], to=TensorProto.BFLOAT16)
    check_failed(run_on(runner, graph_of([cast], [x], [narrow]), [FLAG]), "bad_model", says="'narrow' is of a type")


# --- execution providers ------------------------------------------------------------------------------


#: What ONNX Runtime calls its execution providers.
TITLES = {name: provider.title for name, provider in ONNXRUNTIME.providers.items()}


@pytest.mark.parametrize("provider", ["xnnpack", "nnapi"])
def test_a_provider_that_the_library_lacks_is_refused_with_those_that_it_has(runner: Runner, provider: str) -> None:
    ended = runner.run("--provider", provider)
    check_failed(ended, "no_provider", says=f"has no {TITLES[provider]}; it has")
    assert "CPUExecutionProvider" in ended.events[-1]["message"]


def test_the_profile_tells_which_provider_ran_each_node(runner: Runner) -> None:
    ended = runner.run("--provider", "cpu", "--profile-passes", "1")
    assert ended.exit_status == 0
    nodes = [event for event in ended.events if event["event"] == "node"]
    assert {node["provider"] for node in nodes} == {"CPUExecutionProvider"}


# --- where the time goes ------------------------------------------------------------------------------


def measured(ended: Ended, *, passes: int, profile_passes: int) -> Measurement:
    assert ended.exit_status == 0, ended.lines[-1]
    transcript = Transcript(warmup=1, passes=passes, profile_passes=profile_passes)
    for line in ended.lines:
        transcript.feed(line)
    return transcript.measurement()


def test_a_profile_tells_the_time_of_each_node_as_the_runtime_runs_them(runner: Runner) -> None:
    """It fuses the convolution with its Relu, and may put nodes of its own between them and the Softmax."""
    path = runner.folder / "conv.onnx"
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "second"),
        helper.make_node("Softmax", ["r"], ["y"], "third", axis=1),
    ]
    kernel = np.ones((3, 3, 3, 3), np.float32)
    onnx.save(model(nodes, [1, 3, 64, 64], {"w": kernel}), path)
    (runner.folder / "image.bin").write_bytes(np.ones(3 * 64 * 64, "<f4").tobytes())
    changed = {"model": str(path), "input": str(runner.folder / "image.bin"), "shape": "1,3,64,64"}
    run = measured(runner.run("--passes", "2", "--profile-passes", "20", **changed), passes=2, profile_passes=20)
    assert run.profile is not None
    convolution, *_between, softmax = run.profile.nodes
    assert "Conv 3x3" in convolution.op
    assert "Relu" not in {node.op for node in run.profile.nodes}
    assert (softmax.name, softmax.op) == ("third", "Softmax")
    assert all(node.total_ns > 0 for node in run.profile.nodes)
    assert sum(node.total_ns for node in run.profile.nodes) <= run.profile.total_ns
    assert len(run.samples) == 2


def test_a_profile_names_our_own_operator(runner: Runner) -> None:
    artifact = export_model(registry.get("clcnet-tiny"), EXPORTS, ExportOptions(igc="fused"))
    changed = {
        "model": str(artifact.folder / artifact.model_files[0].name),
        "input": str(artifact.folder / artifact.inputs[0].file.name),
        "shape": ",".join(map(str, artifact.inputs[0].shape)),
    }
    run = measured(runner.run("--passes", "1", "--profile-passes", "2", **changed), passes=1, profile_passes=2)
    assert run.profile is not None
    assert "ChannelLocalChain" in {node.op for node in run.profile.nodes}
    assert run.profile.passes == 2


@pytest.mark.parametrize(
    ("kernel", "groups", "rank", "kind"),
    [
        ((1, 1), 1, 4, "Conv 1x1"),
        ((3, 3), 1, 4, "Conv 3x3"),
        ((5, 3), 2, 4, "Conv 5x3 grouped"),
        ((3, 3), 8, 4, "Conv 3x3 grouped"),
        ((3,), 1, 3, "Conv"),
    ],
)
def test_a_profile_tells_convolutions_apart_by_kernel_and_groups(
    runner: Runner, kernel: tuple[int, ...], groups: int, rank: int, kind: str
) -> None:
    path, shape = runner.folder / "conv.onnx", [1, 8, *[9] * (rank - 2)]
    node = helper.make_node("Conv", ["x", "w"], ["y"], "one", group=groups)
    onnx.save(model([node], shape, {"w": np.ones((8, 8 // groups, *kernel), np.float32)}), path)
    (runner.folder / "image.bin").write_bytes(np.ones(shape, "<f4").tobytes())
    changed = {"model": str(path), "input": str(runner.folder / "image.bin"), "shape": ",".join(map(str, shape))}
    run = measured(runner.run("--passes", "1", "--profile-passes", "1", **changed), passes=1, profile_passes=1)
    assert run.profile is not None
    assert [node.op for node in run.profile.nodes if "Conv" in node.op] == [kind]


def test_a_profile_leaves_nothing_but_the_output(runner: Runner) -> None:
    before = set(runner.folder.iterdir())
    assert runner.run("--profile-passes", "2").exit_status == 0
    assert set(runner.folder.iterdir()) - before == {runner.folder / "output.bin"}
    np.testing.assert_allclose(np.fromfile(runner.folder / "output.bin", "<f4"), input_values() @ weights(), rtol=1e-5)


def loop_in_an_if(times: int) -> list[onnx.NodeProto]:
    """Nodes that hold others, one in the other: where x's sum is above 0, `times` products of a square matrix."""
    kinds = {"i": (TensorProto.INT64, []), "go": (TensorProto.BOOL, []), "v": (TensorProto.FLOAT, None)}
    ports = {name: helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items()}
    body = [
        helper.make_node("MatMul", ["v", "w"], ["more"], "product"),
        helper.make_node("Identity", ["go"], ["on"], "on"),
    ]
    ends = [helper.make_tensor_value_info("on", *kinds["go"]), helper.make_tensor_value_info("more", *kinds["v"])]
    loop = helper.make_node(
        "Loop", ["times", "", "x"], ["b"], "loop", body=helper.make_graph(body, "body", [*ports.values()], ends)
    )
    outputs = [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)]
    count = helper.make_node("Constant", [], ["times"], value=numpy_helper.from_array(np.array(times)))
    branches = [
        helper.make_graph(nodes, "branch", [], outputs)
        for nodes in ([count, loop], [helper.make_node("Relu", ["x"], ["b"])])
    ]
    return [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["is_positive"]),
        helper.make_node("If", ["is_positive"], ["y"], "either", then_branch=branches[0], else_branch=branches[1]),
    ]


def test_nodes_inside_others_count_for_themselves_and_not_in_those(runner: Runner) -> None:
    path = runner.folder / "if.onnx"
    constants = {"zero": np.array(0, np.float32), "w": np.eye(256, dtype=np.float32)}
    onnx.save(model(loop_in_an_if(times=3), [256, 256], constants), path)
    (runner.folder / "square.bin").write_bytes(np.ones(256 * 256, "<f4").tobytes())
    changed = {"model": str(path), "input": str(runner.folder / "square.bin"), "shape": "256,256"}
    run = measured(runner.run("--profile-passes", "5", **changed), passes=10, profile_passes=5)
    assert run.profile is not None
    times_ns = {node.op: node.total_ns for node in run.profile.nodes}
    assert {"If", "Loop", "MatMul"} <= times_ns.keys()
    assert sum(times_ns.values()) <= run.profile.total_ns  # the products are in it once, not thrice


@pytest.mark.parametrize("times", [0, 3, 400])
def test_spans_of_nodes_do_not_overlap_and_say_how_often_each_ran(runner: Runner, times: int) -> None:
    """As many events as it takes: a thousand fit one."""
    path = runner.folder / "if.onnx"
    constants = {"zero": np.array(0, np.float32), "w": np.eye(4, dtype=np.float32)}
    onnx.save(model(loop_in_an_if(times), [4, 4], constants), path)
    (runner.folder / "square.bin").write_bytes(np.ones(16, "<f4").tobytes())
    changed = {"model": str(path), "input": str(runner.folder / "square.bin"), "shape": "4,4"}
    run = runner.run("--passes", "1", "--profile-passes", "3", "--repeatable", **changed)
    measured(run, passes=1, profile_passes=3)
    ops = [event["op"] for event in run.events if event["event"] == "node"]
    spans = [tuple(span) for event in run.events if event["event"] == "spans" for span in event["spans"]]
    assert Counter(ops[node] for node, *_ in spans)["MatMul"] == 3 * times
    assert {place for _, place, *_ in spans} == {0, 1, 2}
    for place in range(3):
        of_pass = sorted((start, stop) for _, its, start, stop in spans if its == place)
        edges = [edge for span in of_pass for edge in span]
        assert edges == sorted(edges)
        assert edges[0] > 0  # 0 is where the pass begins
    without = runner.run("--passes", "1", "--profile-passes", "3", **changed)
    assert "spans" not in {event["event"] for event in without.events}


# --- XNNPACK, and boards ------------------------------------------------------------------------------


def taken(run: Measurement) -> dict[str | None, int]:
    """How many nodes each provider ran."""
    assert run.profile is not None
    return Counter(node.provider for node in run.profile.nodes)


@pytest.mark.skipif(compiling.native().abi not in xnnpack.PACKAGES, reason="no XNNPACK for this machine")
@pytest.mark.parametrize("threads", ["1", "2"])
def test_xnnpack_takes_the_convolutions_and_leaves_the_rest_to_the_cpu(
    threads: str, runner: Runner, tiny: Artifact, request_for: Callable[..., RunRequest]
) -> None:
    request = replace(
        request_for(tiny, runner.bundle.abi, bundle_with="xnnpack"),
        provider="xnnpack",
        profile_passes=2,
        threads=int(threads),
    )
    run = HostDevice().run(request, lambda _: None)
    assert TITLES["xnnpack"] in run.providers
    assert {node.op for node in run.profile.nodes if node.provider == TITLES["xnnpack"]} == {"Conv", "Gemm"}
    assert taken(run).keys() == {TITLES["xnnpack"], TITLES["cpu"]}
    assert ExportedNetwork(tiny).check(request.output_path, run).passed


@pytest.mark.skipif(compiling.native().abi not in xnnpack.PACKAGES, reason="no XNNPACK for this machine")
def test_the_build_with_xnnpack_leaves_all_to_the_cpu_where_it_is_not_asked_for_and_has_our_own_operator(
    runner: Runner, request_for: Callable[..., RunRequest]
) -> None:
    fused = export_model(registry.get("clcnet-tiny"), EXPORTS, ExportOptions(igc="fused"))
    request = replace(request_for(fused, runner.bundle.abi, bundle_with="xnnpack"), profile_passes=1)
    run = HostDevice().run(request, lambda _: None)
    assert taken(run) == {TITLES["cpu"]: len(run.profile.nodes)}
    assert "ChannelLocalChain" in {node.op for node in run.profile.nodes}
    assert ExportedNetwork(fused).check(request.output_path, run).passed


@pytest.mark.skipif(compiling.native().abi not in xnnpack.PACKAGES, reason="no XNNPACK for this machine")
@pytest.mark.parametrize(("provider", "profiled"), [("xnnpack", True), ("cpu", False)])
def test_a_session_asks_what_a_provider_took_also_where_nobody_asked_for_a_profile(
    provider: str, profiled: bool, tiny: Artifact
) -> None:
    case = Case(tiny.model, "onnxruntime", igc=tiny.igc, passes=2, provider=provider)
    record = measure(CaseRound(case, 1, 0), ExportedNetwork(tiny), HostDevice(), Run("a run", None, 60.0))
    assert (record.status, record.error) == ("ok", None)
    assert record.measurement is not None
    assert (record.measurement.profile is not None) == profiled
    assert record.bundle.runtime == ONNXRUNTIME.build(provider).name
    if profiled:
        assert taken(record.measurement)[TITLES["xnnpack"]] > 10


@pytest.mark.skipif(compiling.native().abi not in xnnpack.PACKAGES, reason="no XNNPACK for this machine")
def test_an_operator_set_is_refused_where_the_runtime_would_refuse_it_and_no_other(
    tmp_path: Path, tiny: Artifact, request_for: Callable[..., RunRequest]
) -> None:
    request = request_for(tiny, compiling.native().abi, bundle_with="xnnpack")
    newest = runtimes._NEWEST_OPSETS[request.bundle.runtime_version]
    for opset, says in ((newest, None), (newest + 1, f"till opset {newest}")):
        made = onnx.load(request.model_files[0].path)
        made.opset_import[0].version = opset
        onnx.save(made, tmp_path / "model.onnx")
        refused = replace(request, model_files=(local_file(tmp_path / "model.onnx"),))
        if says is None:
            HostDevice().run(refused, lambda _: None)
            runtimes.require_opset(request.bundle, "xnnpack", opset)
        else:
            with pytest.raises(RunnerFailed, match=says):
                HostDevice().run(refused, lambda _: None)
            with pytest.raises(ModelRefused, match=f"takes {newest} at most: export it with operator set {newest}"):
                runtimes.require_opset(request.bundle, "xnnpack", opset)


def test_a_session_says_why_there_is_no_provider(tiny: Artifact) -> None:
    case = Case(tiny.model, "onnxruntime", igc=tiny.igc, passes=2, provider="nnapi")
    record = measure(CaseRound(case, 0, 0), ExportedNetwork(tiny), HostDevice(), Run("a run", None, 60.0))
    assert record.status == "no_bundle"
    assert "no bundle has the NNAPI execution provider" in record.error


def test_a_crash_is_not_put_down_to_what_a_library_says_each_time_it_starts() -> None:
    stderr = b"libc: no more memory\n" + b"Schema error: Trying to register schema with name Abs (...)\n\n" * 3
    with pytest.raises(RunnerCrashed, match=r"signal SIGABRT \(libc: no more memory\)"):
        conclude(Transcript(warmup=1, passes=1), 128 + signal.SIGABRT, stderr, where="host")


@pytest.fixture(scope="module")
def phone() -> Iterator[Device]:
    """The emulated Cortex-A7 board, for all tests here that want one."""
    (device,) = open_devices("board:cortex-a7", Opening(estimating=False))
    yield device
    device.close()


@pytest.mark.long
@pytest.mark.board
def test_a_board_runs_a_network_on_xnnpack_and_tells_which_nodes_it_took(
    phone: Device, tiny: Artifact, request_for: Callable[..., RunRequest]
) -> None:
    request = replace(request_for(tiny, phone.info.abi, bundle_with="xnnpack"), provider="xnnpack", profile_passes=1)
    phone.push(request, lambda _: None)
    run = phone.run(request, lambda _: None)
    assert (run.runtime, run.runtime_version) == ("onnxruntime", xnnpack.VERSION)
    convolutions = sum(node.op == "Conv" for node in run.profile.nodes)
    assert convolutions > 10
    assert taken(run)[TITLES["xnnpack"]] == convolutions + 1  # and the classifier
    assert taken(run)[TITLES["cpu"]] > 0
    assert ExportedNetwork(tiny).check(request.output_path, run).passed


@pytest.mark.board
def test_a_board_takes_several_inputs_of_several_types_and_gives_all_outputs_back(
    phone: Device, tmp_path: Path
) -> None:
    types = {"ids": TensorProto.INT64, "s": TensorProto.BOOL, "half": TensorProto.FLOAT16, "x": TensorProto.FLOAT}
    inputs = [
        np.array([[1, -2, 2**62], [4, 5, 6]]),
        np.array(True),
        np.array([[0.5, -1, 2], [65504, 0, 1]], np.float16),
        np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    ]
    onnx.save(of_several(types), tmp_path / "any.onnx")
    request = RunRequest(
        bundle=build_bundle(phone.info.abi),
        model_files=(local_file(tmp_path / "any.onnx"),),
        inputs=tuple(
            InputTensor(
                cast(ElementType, values.dtype.name), values.shape, with_bytes(tmp_path / f"{index}.bin", values)
            )
            for index, values in enumerate(inputs)
        ),
        output_path=tmp_path / "output.bin",
        passes=2,
    )
    phone.push(request, lambda _: None)
    run = phone.run(request, lambda _: None)
    assert [output.type for output in run.outputs] == ["int64", "bool", "float16", "float32"]
    assert [output.shape for output in run.outputs] == [(2, 3), (), (2, 3), (2, 3)]
    assert (tmp_path / "output.bin").read_bytes() == b"".join(values.tobytes() for values in inputs)


def with_bytes(path: Path, values: np.ndarray) -> File:
    path.write_bytes(values.tobytes())
    return local_file(path)


# --- failures: one error event, the last line, and the exit status of its kind ------------------------


def check_failed(ended: Ended, status: str, *, says: str) -> None:
    assert ended.events[-1].keys() == {"event", "status", "message"}
    assert [event for event in ended.events if event["event"] in ("error", "end")] == ended.events[-1:]
    assert ended.events[-1]["status"] == status
    assert says in ended.events[-1]["message"]
    assert ended.exit_status == EXIT_STATUSES[status]


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({"model": "none.onnx"}, "unreadable", "none.onnx"),
        ({"model": "/"}, "unreadable", "directory"),
        ({"input": "none.bin"}, "unreadable", "none.bin"),
        ({"shape": f"2,{FEATURES}"}, "bad_input", "needs 48"),
        (
            {"shape": f"{FEATURES},1"},
            "bad_input",
            "'x' (number 1) takes float32 (1, 6), --type and --shape say float32 (6, 1)",
        ),
        ({"shape": f"1,1,{FEATURES}"}, "bad_input", "float32 (1, 6)"),
        ({"shape": "1,x"}, "usage", "--shape"),
        ({"output": "/nowhere/output.bin"}, "unwritable", "/nowhere/output.bin"),
        ({"output": "/dev/full"}, "unwritable", "No space left"),
        ({"passes": "0"}, "usage", "--passes"),
        ({"profile_passes": "-1"}, "usage", "--profile-passes"),
        ({"verbose": "1"}, "usage", "--verbose"),
        ({"type": "string"}, "usage", "--type takes one of float32"),
        ({"type": "int32"}, "bad_input", "'x' (number 1) takes float32 (1, 6), --type and --shape say int32 (1, 6)"),
        ({"shape": "scalar"}, "bad_input", "needs 4"),
        ({"shape": "-1,6"}, "usage", "sizes from 0 on"),
        ({"shape": "0,6"}, "bad_input", "needs 0"),
        ({"provider": "gpu"}, "usage", "--provider"),
        ({"cpus": "0x8000000000000000"}, "affinity", "0x8000000000000000"),
        ({"cpus": "3"}, "usage", "such as 0x3"),
        ({"deadline_seconds": "0"}, "usage", "--deadline-seconds"),
    ],
    ids=lambda value: "=".join(*value.items()).replace("/", "_") if isinstance(value, dict) else None,
)
def test_a_bad_call_is_refused(runner: Runner, changed: dict[str, str], status: str, says: str) -> None:
    check_failed(runner.run(**changed), status, says=says)


def test_a_second_model_file_is_refused(runner: Runner) -> None:
    path = str(runner.folder / "linear.onnx")
    check_failed(runner.run("--model", path), "usage", says="takes one --model")


@pytest.mark.parametrize("keep", [0, 1, 60, -1], ids=["empty", "one byte", "60 bytes", "all but one byte"])
def test_a_truncated_model_is_a_bad_model(runner: Runner, keep: int) -> None:
    path = runner.folder / "linear.onnx"
    path.write_bytes(path.read_bytes()[:keep])
    check_failed(runner.run(), "bad_model", says="linear.onnx")


def test_a_file_that_is_no_model_is_a_bad_model(runner: Runner) -> None:
    check_failed(runner.run(model=str(runner.folder / "input.bin")), "bad_model", says="input.bin")


def test_a_network_that_fails_in_a_pass_has_failed_to_run(runner: Runner) -> None:
    path = runner.folder / "reshape.onnx"
    sizes = {"sizes": np.array([FEATURES + 1], dtype=np.int64)}
    onnx.save(model([helper.make_node("Reshape", ["x", "sizes"], ["y"])], ["n", "c"], sizes), path)
    ended = runner.run(model=str(path))
    check_failed(ended, "run_failed", says="the network failed")
    assert [event["event"] for event in ended.events] == ["hello", "loaded", "error"]


def test_a_broken_library_is_a_missing_runtime(runner: Runner, tmp_path: Path) -> None:
    broken = tmp_path / "bundle"
    broken.mkdir()
    for file in runner.bundle.files:
        (broken / file.name).symlink_to(file.path)
    (broken / "libonnxruntime.so").unlink()
    (broken / "libonnxruntime.so").write_text("not a library")
    ended_ = ended([*bundles.command(runner.bundle, str(broken)), *runner.options()])
    check_failed(ended_, "runtime_missing", says="libonnxruntime.so")


# --- CPU time, and the host's own priority ------------------------------------------------------------


def test_a_pass_has_its_cpu_time(tiny: Artifact, request_for: Callable[..., RunRequest]) -> None:
    run = HostDevice().run(request_for(tiny, compiling.native().abi), lambda _: None)
    assert all(one.cpu_ns is not None and one.cpu_ns > 0 for one in (*run.warmup, *run.samples))


def test_a_pass_has_what_its_threads_waited_for_a_cpu_where_the_kernel_tells(
    tiny: Artifact, request_for: Callable[..., RunRequest]
) -> None:
    run = HostDevice().run(replace(request_for(tiny, compiling.native().abi), threads=2), lambda _: None)
    tells = Path("/proc/self/schedstat").exists() and not Path("/proc/self/schedstat").read_text().startswith("0 0")
    assert all((one.wait_ns is not None) == tells for one in run.samples[1:])


def test_the_runner_is_told_which_thermal_zones_count(tiny: Artifact, request_for: Callable[..., RunRequest]) -> None:
    """One that is not there (any more) says nothing."""
    host = HostDevice()
    host.zones.read({4095: ("cpu-thermal", 455), 1: ("soc", 95)}, {})
    request = request_for(tiny, compiling.native().abi)
    argv = arguments(request, host.zones, models=["m"], inputs=["i"], output_path="o")
    assert argv[argv.index("--zones") + 1] == "4095:100"
    assert all(one.celsius is None for one in host.run(request, lambda _: None).samples)


def may_go_first() -> bool:
    """Whether this process has CAP_SYS_NICE (capabilities(7)), which root lacks in most containers."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> 23 & 1)


@pytest.mark.skipif(not may_go_first(), reason="this process may not go before others")
def test_on_the_host_the_runner_goes_before_other_programs(
    tiny: Artifact, request_for: Callable[..., RunRequest]
) -> None:
    """Before those of its session, and its session before others, where the kernel groups processes by session."""
    priorities: list[int] = []
    of_sessions: list[str] = []

    def ask(event: Event) -> None:
        if isinstance(event, Hello):  # its passes are still to come
            priorities.append(os.getpriority(os.PRIO_PROCESS, event.pid))
            group = Path(f"/proc/{event.pid}/autogroup")
            if group.exists() and os.getsid(event.pid) != os.getsid(0):
                of_sessions.extend(group.read_text().split()[-2:])

    HostDevice().run(request_for(tiny, compiling.native().abi, passes=1000), ask)
    assert priorities == [-20]
    assert of_sessions in ([], ["nice", "-20"])


# --- a host that is gone ------------------------------------------------------------------------------


def test_a_runner_that_nobody_listens_to_ends_at_its_deadline(runner: Runner) -> None:
    """Also when whoever started it had the signal ignored: it stands still in a full pipe until then."""
    command = [*runner.program, *runner.options(passes=MANY_PASSES, deadline_seconds="1")]
    ignoring = ["sh", "-c", f"trap '' ALRM; exec {shlex.join(command)}"]
    with subprocess.Popen(ignoring, stdout=subprocess.PIPE) as process:
        assert process.wait(timeout=PATIENCE_S) == -signal.SIGALRM


def test_a_runner_whose_host_has_hung_up_ends(runner: Runner) -> None:
    command = [*runner.program, *runner.options(passes=MANY_PASSES)]
    # restore_signals=False: SIGPIPE stays ignored, as Python has it, and as a daemon on a device may
    with subprocess.Popen(command, stdout=subprocess.PIPE, restore_signals=False) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=PATIENCE_S) == -signal.SIGPIPE
