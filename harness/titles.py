"""What a case, and what cases have in common, is called wherever it is shown."""

from __future__ import annotations

from harness.records import Record
from models import registry
from models.spec import ModelError


def model_title(record: Record) -> str:
    """The network, and how its channel local convolutions are computed: "clcNet-A, fused"."""
    try:
        name = registry.get(record.case.model).title
    except ModelError:  # a record of a network that has since left the registry is still a record
        name = record.case.model
    return f"{name}, {record.case.igc}" if record.case.igc else name


def runtime_title(record: Record) -> str:
    """What ran the network, and where that was not as usual: "caffe2 1.7.1, DEPTHWISE_3x3, 2 threads, CPUs big"."""
    applies = record.artifact is None or "Conv:DEPTHWISE_3x3" in record.artifact.op_counts
    nowhere = "" if applies or not _engine(record) else " (applies nowhere)"
    threads = [threads_title(record)] if record.case.threads > 1 else []
    return ", ".join([_runtime(record) + nowhere, *threads, *_place(record)])


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
    return f"{record.case.runtime} {version}".strip() + _engine(record)


def _engine(record: Record) -> str:
    return ", DEPTHWISE_3x3" if record.case.format == "caffe2-depthwise" else ""


def _place(record: Record) -> list[str]:
    case = record.case
    return [*([f"CPUs {case.cpus}"] if case.cpus is not None else []), *([case.abi] if case.abi is not None else [])]
