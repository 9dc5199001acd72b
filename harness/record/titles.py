"""What a case, and what cases have in common, is called wherever it is shown."""

from __future__ import annotations

from device.board.accuracy import accuracy
from device.records import Chip, Clock, DeviceInfo, Loss
from harness.record.record import Record
from harness.record.runtimes import CPU, RUNTIMES, formats
from models import registry
from models.spec import ModelError, ModelSpec


def model_title(record: Record) -> str:
    """The network, how its channel local convolutions are computed, and in what: "clcNet-A, grouped, int8"."""
    spec, case = network_spec(record), record.case
    precision = [] if case.precision == "fp32" else [case.precision]
    return ", ".join([spec.title if spec else case.model, *([case.igc] if case.igc else []), *precision])


def network_spec(record: Record) -> ModelSpec | None:
    """The network in the registry; None for a user's own model, whatever its name, and for one that has since left."""
    if record.artifact is not None and record.artifact.source is not None:
        return None
    try:
        return registry.get(record.case.model)
    except ModelError:
        return None


def runtime_title(record: Record) -> str:
    """What ran the network, and where that was not as usual: "caffe2 1.7.1, DEPTHWISE_3x3, 2 threads, CPUs big".

    Of a provider other than the CPU's it says how much of the network that really took: "xnnpack (45 of 60 nodes)".
    """
    form, artifact = formats().get(record.case.format), record.artifact
    is_lost = form and form.marks and artifact and form.marks not in artifact.op_counts
    nowhere = " (applies nowhere)" if is_lost else ""
    threads = [threads_title(record)] if record.case.threads > 1 else []
    return ", ".join([_runtime(record) + nowhere + _taken(record), *threads, *_place(record)])


def case_runtime_title(record: Record) -> str:
    """What was asked to run the network, the same on all devices, whose versions of it may differ."""
    threads = [threads_title(record)] if record.case.threads > 1 else []
    return ", ".join([record.case.runtime + _format(record) + _provider(record), *threads, *_place(record)])


def case_title(record: Record) -> str:
    """The whole case, but for its device: "clcNet-A, fused; onnxruntime 1.28.2, 2 threads"."""
    return f"{model_title(record)}; {runtime_title(record)}"


def group_title(record: Record, *, with_threads: bool = True) -> str:
    """What the cases share that are compared with this one: "board:cortex-a7, onnxruntime 1.28.2, 1 thread"."""
    threads = [threads_title(record)] if with_threads else []
    return ", ".join([record.device.serial, _runtime(record), *threads, *_place(record)])


def threads_title(record: Record) -> str:
    return f"{record.case.threads} thread{'s' if record.case.threads > 1 else ''}"


def _runtime(record: Record) -> str:
    version = record.measurement.runtime_version if record.measurement else ""
    return f"{record.case.runtime} {version}".strip() + _format(record) + _provider(record)


def _provider(record: Record) -> str:
    return "" if record.case.provider == CPU else f", {record.case.provider}"


def _format(record: Record) -> str:
    runtime = RUNTIMES.get(record.case.runtime)
    choice = runtime.choice(record.case.format) if runtime else None
    return f", {choice}" if choice else ""


def _taken(record: Record) -> str:
    """How many nodes the provider took, as its profile says; nothing where it was the CPU's, or that is not known."""
    measured = record.measurement
    if record.case.provider == CPU or measured is None or measured.profile is None:
        return ""
    providers = [node.provider for node in measured.profile.nodes if node.provider is not None]
    runtime = RUNTIMES.get(record.case.runtime)
    asked = runtime.providers.get(record.case.provider) if runtime else None
    name = asked.title if asked else record.case.provider
    return f" ({providers.count(name)} of {len(providers)} nodes)" if providers else ""


def _place(record: Record) -> list[str]:
    case = record.case
    return [*([f"CPUs {case.cpus}"] if case.cpus is not None else []), *([case.abi] if case.abi is not None else [])]


def reference_title(record: Record) -> str:
    """What the outputs of a case are checked against."""
    artifact = record.artifact
    is_pytorchs = artifact is None or (artifact.source is None and artifact.precision == "fp32")
    return "what PyTorch computed" if is_pytorchs else "what ONNX Runtime computed from this file on the host"


#: What cycles go to, in words.
LOSS_TITLES: dict[Loss, str] = {
    "pipeline": "pipeline",
    "dram": "DRAM",
    "l2": "L2",
    "stores": "stores",
    "tlb": "TLB",
    "branches": "branches",
    "fetch": "instruction fetch",
    "kernel": "kernel",
}


def loss_heading(loss: Loss) -> str:
    title = LOSS_TITLES[loss]
    return f"{title[:1].upper()}{title[1:]}"


_MEASURED_ON: dict[Clock, str] = {
    "wall": "hardware",
    "instructions": "a modelled clock (1 instruction = 1 ns)",
    "emulated": "an emulator (times mean nothing)",
    "estimated": "no hardware, but estimated",
}


def meaning_of_time(device: DeviceInfo) -> str:
    """What a time there is: printed in every row, so that no one takes it for something else."""
    return _MEASURED_ON[device.clock] if device.chip is None else estimated(device.chip)


def how_measured(device: DeviceInfo) -> str:
    """The same, as the rest of a sentence: "measured on hardware"."""
    return f"measured on {_MEASURED_ON[device.clock]}" if device.chip is None else estimated(device.chip)


def sentence(words: str) -> str:
    """Words as a sentence of their own."""
    return f"{words[:1].upper()}{words[1:]}."


def estimated(chip: Chip) -> str:
    """That times are estimates, of which chip, and what these are worth."""
    return f"estimated: {chip}; {accuracy(chip)}"
