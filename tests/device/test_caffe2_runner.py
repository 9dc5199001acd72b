"""The runner with Caffe2: its bundles, what it measures, what it says of nets that are no good (PROTOCOL.md)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from programs import PATIENCE_S

from device import bundle as bundles
from device.device import Opening
from device.open import open_devices
from device.records import RunRequest
from export.artifact import Artifact
from export.caffe2.formats import AS_CONVERTED, DEPTHWISE
from export.pipeline import ExportOptions, export_model
from export.tensors import read_values
from export.verify import deviation
from harness.measure.networks import ExportedNetwork
from harness.record.runtimes import build_bundle
from models import registry
from toolchain import compile as compiling
from toolchain.paths import EXPORTS

NATIVE = compiling.native().abi


@pytest.fixture(scope="session")
def nets() -> Artifact:
    """The registry's smallest network as Caffe2's nets (reused when up to date)."""
    return export_model(registry.get("clcnet-tiny"), EXPORTS, ExportOptions(form=AS_CONVERTED))


@dataclass(frozen=True)
class Ended:
    exit_status: int
    events: list[dict[str, Any]]
    stderr: str


Run = Callable[..., Ended]


@pytest.fixture
def run(nets: Artifact, tmp_path: Path) -> Run:
    """Runs this machine's runner on the nets, or on the `models` that are given in their place."""
    built = build_bundle(NATIVE, "caffe2")

    def run(*more: str, models: list[bytes] | None = None, shape: str = "1,3,64,64") -> Ended:
        files = [nets.folder / file.name for file in nets.model_files]
        if models is not None:
            files = [tmp_path / f"{index}.pb" for index in range(len(models))]
            for file, content in zip(files, models, strict=True):
                file.write_bytes(content)
        command = bundles.command(built, str(built.files[0].path.parent))
        command += [word for file in files for word in ("--model", str(file))]
        command += ["--input", str(nets.folder / nets.inputs[0].file.name), "--output", str(tmp_path / "output")]
        done = subprocess.run(
            [*command, "--shape", shape, *more], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        return Ended(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)

    return run


@pytest.fixture
def contents(nets: Artifact) -> list[bytes]:
    """The init net and the predict net."""
    return [(nets.folder / file.name).read_bytes() for file in nets.model_files]


def refused(ended: Ended, status: str, says: str) -> None:
    assert ended.exit_status > 0
    assert ended.events[-1]["event"] == "error"
    assert ended.events[-1]["status"] == status
    assert says in ended.events[-1]["message"]
    assert "\n" not in ended.events[-1]["message"]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_output_is_pytorchs(threads: str, run: Run, nets: Artifact, tmp_path: Path) -> None:
    ended = run("--threads", threads, "--passes", "3")
    assert (ended.exit_status, ended.stderr) == (0, "")
    assert ended.events[0]["runtime"] == "caffe2"
    assert ended.events[0]["runtime_version"] == "1.7.1"
    assert [event["event"] for event in ended.events] == ["hello", "loaded", *["pass"] * 4, "output", "end"]
    assert ended.events[-2]["tensors"] == [{"type": "float32", "shape": list(nets.outputs[0].shape)}]
    reference = read_values(nets.folder / nets.outputs[0].file.name, nets.outputs[0].shape)
    assert deviation(read_values(tmp_path / "output", nets.outputs[0].shape), reference).ok


def test_a_profile_tells_the_time_of_each_operator_in_the_order_of_the_net(run: Run, contents: list[bytes]) -> None:
    ended = run("--passes", "1", "--profile-passes", "3")
    assert ended.exit_status == 0
    [whole] = [event for event in ended.events if event["event"] == "profile"]
    nodes = [event for event in ended.events if event["event"] == "node"]
    assert (whole["passes"], whole["nodes"]) == (3, len(nodes))
    convolutions = {"Conv 3x3", "Conv 3x3 grouped", "Conv 1x1 grouped"}
    assert {node["op"] for node in nodes if node["op"].startswith("Conv")} == convolutions
    assert {"Relu", "FC"} <= {node["op"] for node in nodes}
    assert all(node["total_ns"] > 0 for node in nodes)
    assert {node["provider"] for node in nodes} == {None}
    assert 0.9 * whole["total_ns"] < sum(node["total_ns"] for node in nodes) <= whole["total_ns"]
    assert len([event for event in ended.events if event["event"] == "pass"]) == 2
    outputs = [bytes([0x12, len(node["name"])]) + node["name"].encode() for node in nodes]  # OperatorDef.output
    positions = [contents[1].find(output) for output in outputs]
    assert positions == sorted(positions)
    assert positions[0] >= 0


def test_a_profile_names_the_engine_that_the_net_asks_for(run: Run) -> None:
    spec = registry.get("clcnet-tiny")
    depthwise = export_model(spec, EXPORTS, ExportOptions(form=DEPTHWISE, igc="depthwise"))
    models = [(depthwise.folder / file.name).read_bytes() for file in depthwise.model_files]
    ended = run("--passes", "1", "--profile-passes", "1", models=models)
    assert "Conv 3x3 grouped (DEPTHWISE_3x3)" in {event["op"] for event in ended.events if event["event"] == "node"}


def test_a_net_that_is_not_simple_has_no_profile(run: Run, contents: list[bytes]) -> None:
    kind = b"async_scheduling"
    contents[1] += b"\x1a" + bytes([len(kind)]) + kind  # NetDef.type (caffe2.proto), field 3
    refused(run("--profile-passes", "1", models=contents), "run_failed", "simple")


def test_one_file_or_three_are_refused(run: Run, contents: list[bytes]) -> None:
    refused(run(models=contents[:1]), "usage", "Caffe2 takes two --model")
    refused(run(models=[*contents, b"x"]), "usage", "Caffe2 takes two --model")


def test_a_shape_that_is_not_the_nets_is_a_bad_input(run: Run) -> None:
    refused(run(shape="1,3,32,128"), "bad_input", "takes (1, 3, 64, 64), --shape says (1, 3, 32, 128)")


def test_an_input_of_another_type_or_a_second_one_is_a_bad_input(run: Run, nets: Artifact) -> None:
    refused(run("--type", "int32"), "bad_input", "Caffe2 takes an input of float32, not of int32")
    second = ["--input", str(nets.folder / nets.inputs[0].file.name), "--shape", "1,3,64,64"]
    refused(run(*second), "bad_input", "Caffe2 takes one --input, not 2")


def test_caffe2_has_no_provider_but_the_cpu(run: Run) -> None:
    refused(run("--provider", "xnnpack"), "no_provider", "Caffe2 has no execution provider xnnpack")


@pytest.mark.parametrize("which", [0, 1], ids=["init", "predict"])
@pytest.mark.parametrize("part", [0, 1, 0.3, 0.999])
def test_a_net_cut_short_is_a_bad_model(which: int, part: float, run: Run, contents: list[bytes]) -> None:
    kept = 1 if part == 1 else int(len(contents[which]) * part)
    contents[which] = contents[which][:kept]
    refused(run(models=contents), "bad_model", "Caffe2 net")


def test_a_file_that_is_no_net_is_a_bad_model(run: Run, contents: list[bytes]) -> None:
    refused(run(models=[contents[0], b"no net at all"]), "bad_model", "is not a Caffe2 net")


def test_nets_in_the_wrong_order_are_a_bad_model(run: Run, contents: list[bytes]) -> None:
    refused(run(models=contents[::-1]), "bad_model", "the init net")


def test_weights_of_another_network_are_a_bad_model(run: Run, contents: list[bytes], tmp_path: Path) -> None:
    other = export_model(registry.get("clcnet-ap"), EXPORTS, ExportOptions(form=AS_CONVERTED))
    init = (other.folder / other.model_files[0].name).read_bytes()
    refused(run(models=[init, contents[1]]), "bad_model", "inputs that the init net does not fill")


def test_an_operator_that_caffe2_does_not_have_is_a_bad_model_by_its_name(run: Run, contents: list[bytes]) -> None:
    contents[1] = contents[1].replace(b'"\x04Relu', b'"\x04Rely')  # the type of operators, not names with it in them
    refused(run(models=contents), "bad_model", "Rely")


def test_a_net_that_fails_in_a_pass_has_failed_to_run(run: Run, contents: list[bytes]) -> None:
    contents[1] = contents[1].replace(b"kernels", b"kernelz")
    refused(run(models=contents), "run_failed", "kernel")


@pytest.mark.parametrize(
    ("abi", "limit_bytes"), [("armeabi-v7a", 50_000_000), ("arm64-v8a", 75_000_000), ("x86_64", 130_000_000)]
)
def test_a_bundle_is_small_enough_to_be_pushed(abi: str, limit_bytes: int) -> None:
    assert build_bundle(abi, "caffe2").size_bytes <= limit_bytes


def test_the_runner_carries_no_path_of_the_machine_that_built_it() -> None:
    built = build_bundle(NATIVE, "caffe2")
    [runner] = [file for file in built.files if file.name == "tenpass-caffe2"]
    assert str(compiling.RUNNER.parent.parent).encode() not in runner.path.read_bytes()


@pytest.mark.board
@pytest.mark.parametrize("name", ["board:cortex-a7", pytest.param("board:cortex-a53", marks=pytest.mark.long)])
def test_a_board_computes_what_pytorch_computes(
    name: str, nets: Artifact, request_for: Callable[..., RunRequest]
) -> None:
    (device,) = open_devices(name, Opening(estimating=False))
    try:
        request = request_for(nets, device.info.abi, runtime="caffe2")
        device.push(request, lambda _: None)
        measured = device.run(request, lambda _: None)
    finally:
        device.close()
    assert (measured.runtime, len(measured.samples)) == ("caffe2", 3)
    assert ExportedNetwork(nets).check(request.output_path, measured).passed
