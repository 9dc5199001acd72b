"""Measures networks on ARM devices. `tenpass COMMAND -h` says what a command does.

\b
Completion, in the file that your shell reads when it starts:
  bash: eval "$(_TENPASS_COMPLETE=bash_source tenpass)"
  zsh:  eval "$(_TENPASS_COMPLETE=zsh_source tenpass)"
  fish: _TENPASS_COMPLETE=fish_source tenpass | source
"""

from __future__ import annotations

from harness.cli.command import lazy_group

#: Command -> the module that has it as `main`, imported when the command is called, and what it does.
COMMANDS = {
    "run": ("harness.run", "Measure networks, and write tables and plots."),
    "devices": ("harness.cli.devices", "List the devices that can be measured on, or clean one."),
    "doctor": ("harness.cli.doctor", "Try everything that a run needs of a device, and say what to do."),
    "models": ("harness.cli.models", "List the networks that can be measured by name."),
    "export": ("harness.cli.export", "Export networks to verified ONNX files and Caffe2 nets."),
    "report": ("harness.cli.report", "Remake the tables and plots of a run from its records."),
    "compare": ("harness.cli.compare", "Is one run slower than another? A gate for CI."),
    "history": ("harness.cli.history", "How cases moved over many runs."),
    "study": ("harness.cli.study", "Table 5; the fused kernel three ways; estimates against published times."),
    "selfcheck": ("harness.cli.selfcheck", "What the harness itself adds to a time."),
    "board": ("harness.cli.board", "Boot an emulated board and leave it up for adb."),
    "farm": ("harness.cli.farm", "Share devices between machines, with Dask."),
}


main = lazy_group("tenpass", COMMANDS, __doc__)

if __name__ == "__main__":
    main(prog_name="tenpass")
