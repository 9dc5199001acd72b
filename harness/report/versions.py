"""What exactly was measured with what: commit, schema, tools, runtimes, and the sha256 of every model and bundle."""

from __future__ import annotations

from collections.abc import Sequence

from harness.record.plan import Plan
from harness.record.record import Record
from harness.record.units import NOTHING, size
from harness.report.document import Block, Group, Line, bullets, text_table


def versions(plan: Plan, records: Sequence[Record]) -> list[Block]:
    """What holds for the whole run, the bundles, then the files of each case; each said once."""
    blocks: list[Block] = [bullets([f"{name}: {text}" for name, text in _whole_run(plan, records)])]
    for heading, found in (("Runners", _bundles(records)), ("Models", _models(records))):
        different = [line for place, line in enumerate(found) if line not in found[:place]]
        if different:
            blocks.append(Group(heading, (text_table(different),)))
    return blocks


def _whole_run(plan: Plan, records: Sequence[Record]) -> list[tuple[str, str]]:
    """Names and what they are, for what all cases share."""
    tools: dict[str, set[str]] = {}
    for record in records:
        for tool, version in (record.artifact.tool_versions if record.artifact else {}).items():
            tools.setdefault(tool, set()).add(version)
    commits = dict.fromkeys(record.commit or "unknown" for record in records) or {plan.commit or "unknown": None}
    schemas = dict.fromkeys(str(record.schema_version) for record in records) or {str(plan.schema_version): None}
    runners = dict.fromkeys(one.measurement.runner_version for one in records if one.measurement)
    return [
        ("run", f"{plan.run}, planned at {plan.utc}"),
        ("commit", ", ".join(commits)),
        ("schema", ", ".join(schemas)),
        ("runner", ", ".join(runners) or NOTHING),
        ("seed of the order", str(plan.seed)),
        ("tools", ", ".join(f"{tool} {' or '.join(sorted(found))}" for tool, found in tools.items()) or NOTHING),
    ]


def _bundles(records: Sequence[Record]) -> list[Line]:
    return [
        {
            "Runtime": f"{record.bundle.runtime} {record.bundle.runtime_version}",
            "ABI": record.bundle.abi,
            "Size": size(record.bundle.size_bytes),
            **({"Compiled and run with": record.bundle.options} if record.bundle.options else {}),
            "sha256 of the bundle": record.bundle.sha256,
        }
        for record in records
        if record.bundle
    ]


def _models(records: Sequence[Record]) -> list[Line]:
    found: list[Line] = []
    for record in records:
        if (artifact := record.artifact) is None:
            continue
        found.append(
            {
                "Model": record.case.model + (f", {record.case.igc}" if record.case.igc else ""),
                "Format": f"{artifact.format}, {artifact.numbers or artifact.precision}",
                "Opset": str(artifact.opset),
                "Weights": artifact.source or artifact.weights,
                **({"Calibration": artifact.calibration} if artifact.calibration else {}),
                "sha256 of the files": " ".join(artifact.sha256),
            }
        )
    return found
