"""A run as a library call: `harness.benchmark`. docs/api.md shows it."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.open import choose
from export.artifact import INPUT_NAME
from harness.analyse.rows import Row, table_rows
from harness.measure.cases import Choices
from harness.measure.device import Attachment
from harness.measure.planning import plan_of
from harness.measure.progress import Progress, Silence
from harness.measure.run import measure_plan, sessions_here
from harness.record import journal
from harness.record.errors import UsageError
from harness.record.plan import MissingCase, Plan, in_order, missing_cases
from harness.record.record import Record
from harness.record.run_folder import new_folder

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    #: A registered name, the path of an ONNX file, or a PyTorch module.
    Network = str | Path | nn.Module


@dataclass(frozen=True)
class Results:
    """What came of a run: its plan, its raw records, and what kept a device from its cases, by the device's name."""

    plan: Plan
    records: tuple[Record, ...]
    failures: Mapping[str, Exception]

    @property
    def rows(self) -> list[Row]:
        """A row for each device and case, with its rounds together: summary, ratios, warnings."""
        return table_rows(self.records, self.plan.limits)

    @property
    def missing(self) -> list[MissingCase]:
        """What was to be measured and did not end well."""
        return missing_cases(self.plan, self.records)

    def to_dataframe(self) -> pd.DataFrame:
        """The rows as table6.csv has them: one column a quantity, unrounded, units in the names."""
        import pandas as pd

        from harness.report import columns

        data = columns.data(self.rows)
        return pd.DataFrame(data.rows, columns=list(data.names))


def benchmark(
    networks: Network | Sequence[Network],
    *,
    device: str | Sequence[str] = "host",
    example: Tensor | Sequence[int] | None = None,
    out: Path | str | None = None,
    progress: Progress | None = None,
    attachment: Attachment | None = None,
    **options: Any,
) -> Results:
    """Measures networks on a device, or on several at the same time; each output is checked.

    A network is a registered name, the path of an ONNX file, or an `nn.Module`. Modules need an `example`: an input, or
    its shape. `device` is as `--device` has it. Records and plan stay in the new folder `out`, if there is one:
    `tenpass report` makes tables and plots of them. `options` are fields of `harness.measure.cases.Choices`, named as
    the options of `tenpass run` are: passes=100, rounds=5, threads=(1, 2), precisions=("fp32", "int8"). `progress` is
    told how it goes, `attachment` says how the devices are had.

    A case that fails is among the results. Raises UsageError for what makes no sense, ExportError for a module that
    ONNX cannot express, and DeviceError's children where no device can be had at all.
    """
    listed = list(networks) if isinstance(networks, list | tuple) else [networks]
    attachment, progress = attachment or Attachment(), progress or Silence()
    with tempfile.TemporaryDirectory(prefix="tenpass-") as scratch:
        named = (device,) if isinstance(device, str) else device
        choices = _choices(listed, example, Path(scratch), options)
        name = Path(out).name if out else "benchmark"
        command = shlex.join(["python", *sys.argv])
        plan = plan_of(choices, lambda: choose(named, attachment.server, progress.say), name, command)
        if any(Path(scratch).resolve() in Path(own.path).parents for own in plan.own_models):
            plan = replace(plan, script=command)  # its files are gone when it ends
        folder = new_folder(Path(out) if out else Path(scratch, "run"), plan.devices)
        sessions = sessions_here(attachment)
        result = measure_plan(plan, folder, progress, sessions, is_resumed=False)
        return Results(result.plan, tuple(in_order(result.plan, journal.read(folder))), result.failures)


def _choices(
    networks: Sequence[Any], example: Tensor | Sequence[int] | None, folder: Path, options: Mapping[str, Any]
) -> Choices:
    """What is to be measured; modules are files in `folder` then. Raises UsageError."""
    files: list[str] = []
    names: list[str] = []
    inputs = list(options.get("inputs", ()))
    for network in networks:
        if isinstance(network, Path) or (isinstance(network, str) and network.endswith(".onnx")):
            files.append(str(network))
        elif isinstance(network, str):
            names.append(network)
        else:
            name = type(network).__name__
            taken = sum(Path(file).stem.partition("-")[0] == name for file in files)
            path = folder / (f"{name}-{taken + 1}.onnx" if taken else f"{name}.onnx")
            files.append(str(path))
            inputs += _written(network, example, path)
    try:
        return Choices(**{**options, "models": tuple(names), "model_files": tuple(files), "inputs": tuple(inputs)})
    except TypeError as error:
        raise UsageError(f"benchmark: {error}; its options are those of harness.measure.cases.Choices") from None


def _written(module: nn.Module, example: Tensor | Sequence[int] | None, path: Path) -> list[str]:
    """Writes the module to `path`, and its example beside it; what --input says of it. Raises UsageError."""
    import torch

    from export.own.module import module_to_onnx

    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"benchmark: {module!r:.80} is no name, no path of an ONNX file and no nn.Module")
    if example is None:
        raise UsageError(f"benchmark: {type(module).__name__} needs an example: an input, or its shape")
    if isinstance(example, torch.Tensor):
        module_to_onnx(module, example, path)
        arrays: dict[str, Any] = {INPUT_NAME: example.detach().numpy()}
        np.savez(path.with_suffix(".npz"), **arrays)
        return [f"{path.stem}={path.with_suffix('.npz')}"]
    module_to_onnx(module, torch.rand(tuple(example)), path)
    return []
