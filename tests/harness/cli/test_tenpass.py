"""`tenpass`: one command whose parts are imported when they are called."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from harness.__main__ import COMMANDS, main

HEAVY = {"torch", "onnx", "onnxruntime", "onnxsim", "pandas", "matplotlib", "scipy", "distributed"}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_help_under_both_names_of_the_option(name: str) -> None:
    short, long = (CliRunner().invoke(main, [name, option]) for option in ("-h", "--help"))
    assert short.exit_code == long.exit_code == 0, long.output
    assert short.output == long.output
    assert "-h, --help" in short.output


def test_the_list_names_every_command_and_imports_none() -> None:
    script = (
        "import json, sys; from harness.__main__ import COMMANDS, main; main(['-h'], standalone_mode=False);"
        "print(json.dumps([name for name, (module, _) in COMMANDS.items() if module in sys.modules]))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *words, imported = ended.stdout.splitlines()
    assert json.loads(imported) == []
    for name in COMMANDS:
        assert any(line.split()[:1] == [name] for line in words), name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_no_heavy_library(name: str) -> None:
    script = (
        f"import json, sys; from harness.__main__ import main; main(['{name}', '-h'], standalone_mode=False);"
        "print(json.dumps(sorted(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(ended.stdout.splitlines()[-1]))


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("tenpass, version ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_their_completion(shell: str) -> None:
    ended = CliRunner().invoke(main, [], prog_name="tenpass", env={"_TENPASS_COMPLETE": f"{shell}_source"})
    assert "tenpass" in ended.output
    assert "_TENPASS_COMPLETE" in ended.output


def test_an_unknown_command_is_refused_with_exit_code_2() -> None:
    assert CliRunner().invoke(main, ["measure"]).exit_code == 2


def test_a_command_does_what_its_module_does() -> None:
    assert "clcnet-a" in CliRunner().invoke(main, ["models"]).output
