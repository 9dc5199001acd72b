"""Measures networks on an ARM device and writes Table 6 of the clcNet paper again.

Exports what is not up to date, pushes what the device lacks, times ten passes of each network in a native runner
there, checks the outputs against the reference's, and leaves records, tables and plots in a folder below results/.

Exit codes: 0 all is well; 1 some case failed or was not measured; 2 usage; 3 device unavailable.
"""

# Only what is light is imported here: --help must answer at once. The rest is imported where the work begins.
from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.result import print_result
from harness.cli.run import RunOptions, run_command

if TYPE_CHECKING:
    from harness.cli.where import Where
    from harness.record.plan import Plan


def run(options: RunOptions) -> int:
    if options.list_models or options.list_devices or options.clean_device:
        return _only(options)
    from harness.measure.progress import Display
    from harness.measure.run import measure_plan
    from harness.report.write import write

    plan, folder, where = _plan_and_folder(options)
    display, is_resumed = Display(), options.resume is not None
    try:
        with display.shown(), where.sessions() as sessions:
            result = measure_plan(plan, folder, display, sessions, is_resumed=is_resumed)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only an empty one goes: nothing came of the run
    return print_result(result, write(folder), folder)


def _only(options: RunOptions) -> int:
    """What is asked for in place of a run."""
    from harness.cli.devices import clean_devices, print_devices
    from harness.cli.models import print_models

    if options.list_models:
        return print_models()
    if options.list_devices:
        return print_devices(options.where)
    return clean_devices(options.devices, options.where, options.choices.boards or 1, options.choices.timeouts)


def _plan_and_folder(options: RunOptions) -> tuple[Plan, Path, Where]:
    """What is to be measured, the folder for it, and where. Raises UsageError and DeviceError's children."""
    from harness.cli.resume import plan_to_resume
    from harness.measure.planning import plan_of
    from harness.record.run_folder import new_folder

    if options.resume is not None:
        plan, where = plan_to_resume(options, options.resume)
        return plan, options.resume, where
    command = shlex.join(["python", "-m", "harness.run", *sys.argv[1:]])
    plan = plan_of(options.choices, lambda: options.where.choose(options.devices), run="", command=command)
    folder = new_folder(options.out, plan.devices)
    return replace(plan, run=folder.name, where=options.where.recorded), folder, options.where


run.__doc__ = __doc__
main = run_command(run)

if __name__ == "__main__":
    main()
