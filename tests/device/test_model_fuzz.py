"""Damaged and hostile model files: an error with its status, in time, and never a wrong output that counts as right."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from programs import BUILDS, PATIENCE_S

from device import bundle
from device.host import HostDevice
from device.records import DeviceState
from device.statuses import EXIT_STATUSES
from export.artifact import Artifact
from export.caffe2.formats import AS_CONVERTED
from export.pipeline import ExportOptions, export_model
from harness.measure.case import Run, measure
from harness.measure.networks import ExportedNetwork
from harness.record.case import Case
from harness.record.plan import CaseRound
from harness.record.record import Record
from models import registry
from toolchain import compile as compiling
from toolchain import wheels
from toolchain.files import describe
from toolchain.paths import EXPORTS

TIMEOUT_S = 20.0
MEMORY_BYTES = 12 << 30  # of address space: a size made huge must not take the machine's memory


# --- damage ---------------------------------------------------------------------------------------------

Damage = Callable[[bytes, random.Random], bytes]


def bits_flipped(data: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(dice.choice([1, 1, 4, 64])):
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def structure_flipped(data: bytes, dice: random.Random) -> bytes:
    """Where names are, as there are nodes, attributes and shapes, and not in the weights."""
    at = dice.choice([found.start() for found in re.finditer(rb"[A-Za-z_/.0-9]{4,}", data)])
    near = min(len(data) - 1, max(0, at + dice.randrange(-6, 6)))
    return data[:near] + bytes([dice.randrange(256)]) + data[near + 1 :]


def cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def spliced(data: bytes, dice: random.Random) -> bytes:
    first, second = sorted(dice.sample(range(len(data)), 2))
    length = dice.randrange(1, 3000)
    return data[:first] + data[second : second + length] + data[first + length * dice.randrange(2) :]


def length_changed(data: bytes, dice: random.Random) -> bytes:
    """Behind a byte that protobuf has before a length (wire type 2), another length."""
    at = dice.choice([found.start() for found in re.finditer(rb"[\x0a\x12\x1a\x22\x2a\x32\x3a\x42\x4a]", data)]) + 1
    length = dice.choice(
        [b"\x00", b"\x7f", b"\xff\xff\x7f", b"\xff\xff\xff\xff\x07", b"\xff" * 9 + b"\x01", b"\xff" * 11]
    )
    return data[:at] + length + data[at + 1 :]


def number_changed(data: bytes, dice: random.Random) -> bytes:
    """Eight bytes of a raw int64, or four of a float, made extreme."""
    at = dice.randrange(len(data) - 8)
    extreme = dice.choice([b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"\0\0\xc0\x7f", b"\0\0\x80\x7f"])
    return data[:at] + extreme + data[at + len(extreme) :]


DAMAGES: list[Damage] = [
    bits_flipped,
    structure_flipped,
    structure_flipped,
    cut,
    spliced,
    length_changed,
    number_changed,
]


@dataclass(frozen=True)
class Source:
    """What is damaged: one of the model files of an artifact."""

    name: str
    runtime: str
    options: dict[str, Any]


SOURCES = [
    Source("onnx", "onnxruntime", {}),
    Source("fused", "onnxruntime", {"igc": "fused"}),
    Source("caffe2", "caffe2", {"form": AS_CONVERTED}),
]


@cache
def exported(name: str) -> Artifact:
    [source] = [one for one in SOURCES if one.name == name]
    return export_model(registry.get("clcnet-tiny"), EXPORTS, ExportOptions(**source.options))


def damaged(artifact: Artifact, folder: Path, dice: random.Random) -> Artifact:
    """Says that it is `artifact`, but one of its model files is damaged."""
    shutil.copytree(artifact.folder, folder)
    victim = folder / dice.choice(artifact.model_files).name
    victim.write_bytes(dice.choice(DAMAGES)(victim.read_bytes(), dice))
    return replace(
        artifact, folder=folder, model_files=tuple(describe(folder / one.name) for one in artifact.model_files)
    )


# --- the runners as they are used -----------------------------------------------------------------------


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """For all that is started meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Host(HostDevice):
    """This machine, whose state nobody asks for here."""

    def state(self) -> DeviceState:
        return DeviceState({}, (), (), None, None, None, None, None)


def run(artifact: Artifact, runtime: str, host: HostDevice) -> Record:
    case = Case(artifact.model, runtime, format=artifact.format, igc=artifact.igc, warmup=0, passes=2)
    return measure(CaseRound(case, 0, 0), ExportedNetwork(artifact), host, Run("fuzz", None, timeout_s=TIMEOUT_S))


@pytest.mark.parametrize("models", [60, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_a_damaged_model_file_ends_in_time_with_an_error_or_with_the_right_output(
    tmp_path: Path,
    bounded_memory: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    models: int,
) -> None:
    host = Host()
    monkeypatch.setattr(bundle, "build", cache(bundle.build))
    for source in SOURCES:
        assert run(exported(source.name), source.runtime, host).status == "ok"
    outcomes: Counter[tuple[str, str]] = Counter()
    messages: Counter[str] = Counter()
    slowest_s = 0.0
    for seed in range(models):
        dice = random.Random(seed)
        source = SOURCES[seed % len(SOURCES)]
        artifact = damaged(exported(source.name), tmp_path / "artifact", dice)
        start = time.monotonic()
        record = run(artifact, source.runtime, host)
        slowest_s = max(slowest_s, time.monotonic() - start)
        shutil.rmtree(tmp_path / "artifact")
        outcomes[source.name, record.status] += 1
        if record.status in ("crashed", "timed_out", "wire_broken"):
            messages[f"{source.name} seed {seed}: {record.error}"] += 1
        check_believable(record, seed)
    with capsys.disabled():
        if models > 100:
            print(
                f"\n{models} damaged files, slowest {slowest_s:.1f} s: {sorted(outcomes.items())}", *messages, sep="\n"
            )
    assert slowest_s < TIMEOUT_S + PATIENCE_S
    assert sum(count for (_, status), count in outcomes.items() if status == "bad_model") > models / 5


def check_believable(record: Record, seed: int) -> None:
    """Measured and right, or failed with a status that the records know and a sentence."""
    if record.status == "ok":
        assert record.check is not None
        assert record.check.passed
        assert record.check.relative <= record.check.tolerance
        assert len(record.measurement.samples) == 2
        return
    assert record.status in {*EXIT_STATUSES, "crashed", "timed_out", "output_wrong"}, (
        seed,
        record.status,
        record.error,
    )
    assert record.error
    assert record.error.isprintable()
    if record.status == "crashed":
        assert re.search(r"signal SIG[A-Z]+", record.error), (seed, record.error)
    if record.status != "output_wrong":
        assert record.measurement is None


def test_weights_that_are_damaged_make_an_output_that_is_refused(tmp_path: Path) -> None:
    artifact = exported("onnx")
    shutil.copytree(artifact.folder, tmp_path / "artifact")
    path = tmp_path / "artifact" / artifact.model_files[0].name
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = numpy_helper.to_array(largest).copy()
    values.flat[: values.size // 2] *= -1
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    onnx.save(model, path)
    wrong = replace(artifact, folder=tmp_path / "artifact", model_files=(describe(path),))
    assert run(wrong, "onnxruntime", Host()).status == "output_wrong"


# --- our own operator, under the sanitizers at length --------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    exit_status: int
    events: str
    report: str  # of the sanitizers, empty if there is none

    @property
    def blames_us(self) -> bool:
        """Whether the first of the frames that is not the sanitizers' own is in our code."""
        if "runtime error:" in self.report:  # of the undefined-behaviour sanitizer, which sees our code alone
            return True
        frames = [line for line in self.report.splitlines() if re.match(r"\s+#\d+ ", line)]
        outside = [
            line for line in frames if "libasan" not in line and "libstdc++" not in line and "libc.so" not in line
        ]
        return bool(self.report) and not (outside and "libonnxruntime" in outside[0])


@pytest.fixture(scope="session", params=BUILDS)
def our_build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Ended]:
    """Runs a model file in a build of the runner and the operator, on ONNX Runtime's ordinary library."""
    chain = compiling.native()
    program = compiling.compiled(chain, "tenpass-onnxruntime", request.param)
    folder = tmp_path_factory.mktemp("our_build")
    operators = compiling.compiled(chain, "tenpass-clc", request.param, file="libtenpass_clc.so")
    for library in (operators, wheels.library(chain.abi)):
        (folder / library.name).symlink_to(library)
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(folder),
        # What the library leaks when it gives up a session is not ours; its own exceptions stand for a lack of memory.
        "ASAN_OPTIONS": "detect_leaks=0:exitcode=99:allocator_may_return_null=1:hard_rss_limit_mb=6000",
        "UBSAN_OPTIONS": "exitcode=99:print_stacktrace=1",
    }
    artifact = exported("fused")
    shape = ",".join(str(size) for size in artifact.inputs[0].shape)
    words = ["--input", str(artifact.folder / artifact.inputs[0].file.name), "--shape", shape]
    words += ["--output", str(folder / "output"), "--warmup", "0", "--passes", "1"]

    def run_model(model: Path) -> Ended:
        command = [str(program), "--model", str(model), *words]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_S, check=False)
        stderr = done.stderr.decode(errors="replace")
        found = re.search(
            r"^.*(ERROR: AddressSanitizer|runtime error:|AddressSanitizer:DEADLYSIGNAL).*", stderr, re.M | re.S
        )
        return Ended(done.returncode, done.stdout.decode(errors="replace"), found.group(0) if found else "")

    return run_model


def fused() -> onnx.ModelProto:
    return onnx.load(exported("fused").folder / "model.onnx")


def chain_of(model: onnx.ModelProto) -> onnx.NodeProto:
    [node] = [node for node in model.graph.node if node.op_type == "ChannelLocalChain"]
    return node


def attribute(model: onnx.ModelProto, name: str) -> onnx.AttributeProto:
    [found] = [one for one in chain_of(model).attribute if one.name == name]
    return found


def with_value(name: str, index: int, value: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        attribute(model, name).ints[index] = value

    return change


def with_values(name: str, values: list[int]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        attribute(model, name).ints[:] = values

    return change


def without(name: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        chain_of(model).attribute.remove(attribute(model, name))

    return change


def of_another_type(name: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        attribute(model, name).CopyFrom(helper.make_attribute(name, "text"))

    return change


def with_dims(index: int, dims: list[int]) -> Callable[[onnx.ModelProto], None]:
    """The constant input `index` with another shape, and as many values as that has."""

    def change(model: onnx.ModelProto) -> None:
        name = chain_of(model).input[index]
        [tensor] = [one for one in model.graph.initializer if one.name == name]
        tensor.CopyFrom(numpy_helper.from_array(np.ones(dims, np.float32), name))

    return change


def with_claimed_dims(index: int, dims: list[int]) -> Callable[[onnx.ModelProto], None]:
    """Another shape, and the values as they were."""

    def change(model: onnx.ModelProto) -> None:
        name = chain_of(model).input[index]
        [tensor] = [one for one in model.graph.initializer if one.name == name]
        tensor.dims[:] = dims

    return change


def of_doubles(index: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        name = chain_of(model).input[index]
        [tensor] = [one for one in model.graph.initializer if one.name == name]
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), name))

    return change


def with_inputs(change_inputs: Callable[[list[str]], list[str]]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        node = chain_of(model)
        node.input[:] = change_inputs(list(node.input))

    return change


def with_image(dims: list[int | str]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        [image] = model.graph.input
        image.CopyFrom(helper.make_tensor_value_info(image.name, TensorProto.FLOAT, dims))

    return change


def averaged_without_linear(flag: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        attribute(model, "averaged").i = flag

    return change


HUGE = 2**32  # as a 32-bit number it is 0: what follows must not be taken for what is left of it
REFUSED: dict[str, Callable[[onnx.ModelProto], None]] = {
    "g1 negative": with_value("groups_3x3", 3, -16),
    "g1 zero": with_value("groups_3x3", 3, 0),
    "g1 the least": with_value("groups_3x3", 3, -(2**63)),
    "g1 the most": with_value("groups_3x3", 3, 2**63 - 1),
    "g1 beyond 32 bits": with_value("groups_3x3", 3, HUGE + 16),
    "g1 times channels beyond 32 bits": with_value("groups_3x3", 3, 2**30),
    "g2 negative": with_value("groups_1x1", 3, -2),
    "g2 zero within the chain": with_value("groups_1x1", 3, 0),
    "g2 beyond 32 bits": with_value("groups_1x1", 3, HUGE + 2),
    "g2 nothing in 32 bits": with_value("groups_1x1", 0, HUGE),
    "g2 the least": with_value("groups_1x1", 3, -(2**63)),
    "stride zero": with_value("strides", 2, 0),
    "stride negative": with_value("strides", 2, -1),
    "stride beyond 32 bits": with_value("strides", 2, HUGE + 2),
    "stride the most": with_value("strides", 2, 2**63 - 1),
    "a flag of two": with_value("relu", 2, 2),
    "a flag nothing in 32 bits": with_value("interlaced", 2, HUGE),
    "no blocks": with_values("groups_3x3", []),
    "more blocks than inputs": with_values("strides", [1] * 1000),
    "other lengths": with_values("relu", [1, 1]),
    "no g1": without("groups_3x3"),
    "no flag for the average": without("averaged"),
    "g1 a text": of_another_type("groups_3x3"),
    "linear without an average": averaged_without_linear(0),
    "a flag of the average of two": averaged_without_linear(2),
    "3x3 of 5x5": with_dims(3, [8, 2, 5, 5]),
    "3x3 of no channels": with_dims(3, [0, 2, 3, 3]),
    "3x3 of no depth": with_dims(3, [8, 0, 3, 3]),
    "3x3 of five dimensions": with_dims(3, [8, 2, 3, 3, 1]),
    "3x3 a number": with_dims(3, []),
    "3x3 of other channels": with_dims(3, [16, 2, 3, 3]),
    "3x3 of fewer values than it says": with_claimed_dims(3, [8, 2, 3, 300]),
    "3x3 of a negative size": with_claimed_dims(3, [-8, -2, 3, 3]),
    "3x3 of sizes beyond memory": with_claimed_dims(3, [2**31, 2**31, 3, 3]),
    "bias of another length": with_dims(4, [9]),
    "bias of none": with_dims(4, [0]),
    "1x1 of other groups": with_dims(5, [16, 2, 1, 1]),
    "1x1 of no outputs": with_dims(5, [0, 4, 1, 1]),
    "linear of no classes": with_dims(40, [0]),
    "linear of other channels": with_dims(39, [100, 255]),
    "weights of doubles": of_doubles(3),
    "an input too few": with_inputs(lambda names: names[:-1]),
    "an input too many": with_inputs(lambda names: [*names, names[-1]]),
    "an input left out": with_inputs(lambda names: [*names[:3], "", *names[4:]]),
    "no weights": with_inputs(lambda names: names[:1]),
    "weights that are the image": with_inputs(lambda names: [*names[:3], names[0], *names[4:]]),
    "inputs turned round": with_inputs(lambda names: [names[0], *reversed(names[1:])]),
    "an image of other channels": with_image([1, 4, 64, 48]),
    "an image of three dimensions": with_image(["n", "c", "h"]),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_our_operator_refuses_what_does_not_fit(
    our_build: Callable[[Path], Ended], tmp_path: Path, change: Callable[[onnx.ModelProto], None]
) -> None:
    model = fused()
    change(model)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    ended = our_build(path)
    assert not ended.report, ended.report[-3000:]
    assert ended.exit_status in (EXIT_STATUSES["bad_model"], EXIT_STATUSES["bad_input"], EXIT_STATUSES["run_failed"]), (
        ended.events
    )


def test_the_runner_takes_the_network_as_it_is(our_build: Callable[[Path], Ended]) -> None:
    for name in ("onnx", "fused"):
        ended = our_build(exported(name).folder / "model.onnx")
        assert (ended.exit_status, ended.report) == (0, "")


def random_change(dice: random.Random) -> Callable[[onnx.ModelProto], None]:
    values = [0, 1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 100, 255, 2**16, 2**31 - 1, 2**31, 2**40, -1, -2]
    lists = ["groups_3x3", "groups_1x1", "strides", "interlaced", "relu", "relu_between"]
    dims = [dice.choice([0, 1, 2, 3, 4, 8, 15, 16, 17, 64]) for _ in range(dice.choice([1, 4, 4, 4]))]
    return dice.choice(
        [
            with_value(dice.choice(lists), dice.randrange(10), dice.choice(values)),
            with_value(dice.choice(lists), dice.randrange(10), dice.choice(values)),
            with_values(dice.choice(lists), [dice.choice(values) for _ in range(10)]),
            with_dims(dice.randrange(1, 41), dims),
            with_claimed_dims(dice.randrange(1, 41), dims),
            with_inputs(lambda names: [names[0], *dice.sample(names[1:], len(names) - 1)]),
            with_image([1, 3, dice.choice([1, 2, 64]), dice.choice([1, 64, 12288])]),
        ]
    )


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("our_build", BUILDS[1:], indirect=True)
def test_nothing_in_a_model_file_makes_our_code_touch_what_is_not_its_own(
    our_build: Callable[[Path], Ended], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files damaged as bytes, and fused ones with other attributes and shapes."""
    path = tmp_path / "model.onnx"
    outcomes: Counter[str] = Counter()
    models = 250
    for seed in range(models):
        dice = random.Random(seed)
        if seed % 2:
            model = fused()
            for _ in range(dice.choice([1, 2, 3])):
                random_change(dice)(model)
            path.write_bytes(model.SerializeToString())
        else:
            whole = (exported(dice.choice(["onnx", "fused"])).folder / "model.onnx").read_bytes()
            path.write_bytes(dice.choice(DAMAGES)(whole, dice))
        ended = our_build(path)
        assert not ended.blames_us, (seed, ended.report[-3000:])
        outcomes["in ONNX Runtime" if ended.report else str(ended.exit_status)] += 1
    with capsys.disabled():
        print(f"\n{models} files under the sanitizers: {sorted(outcomes.items())}")
