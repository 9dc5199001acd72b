"""What CI runs is what anyone runs: the workflows call make, are pinned, and ask for no more than they need."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.run import main as bench
from toolchain.paths import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (REPOSITORY / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z0-9-]+):.*## ", MAKEFILE, re.MULTILINE))

#: What is no target of make: what a bare machine lacks, and keeping a result for the next time.
OTHER_COMMANDS = ("apt-get ", "git config --global --add safe.directory ", "rm -rf results/farm-before", "cp -r ")

workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def content(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in content(path)["jobs"].values() for step in job["steps"]]


def commands(path: Path) -> list[str]:
    return [line for step in steps(path) for line in step.get("run", "").splitlines() if line]


def made(path: Path, target: str) -> dict[str, str]:
    """The variables that the workflow gives to this target of make."""
    (line,) = (line for line in commands(path) if line.startswith(f"make {target}"))
    return dict(word.split("=", 1) for word in shlex.split(line)[2:])


def test_there_are_a_workflow_for_ci_and_one_for_a_farm() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "device-farm"]


@workflow
def test_every_command_is_a_target_of_make_or_prepares_a_bare_machine(path: Path) -> None:
    assert any(line.startswith("make ") for line in commands(path))
    for line in commands(path):
        if line.startswith("make "):
            assert shlex.split(line)[1] in TARGETS, line
        else:
            assert line.startswith(OTHER_COMMANDS), line


@workflow
def test_options_that_are_handed_to_the_benchmark_are_options_it_has(path: Path) -> None:
    known = {name for option in bench.params for name in option.opts}
    given = [word for word in shlex.split(made(path, "bench")["ARGS"]) if word.startswith("--")]
    assert given
    assert set(given) <= known


@workflow
def test_the_outcome_is_compared_shown_and_kept(path: Path) -> None:
    out = re.search(r"--out (\S+)", made(path, "bench")["ARGS"])
    assert out is not None
    compared = made(path, "compare")
    assert compared["NEW"] == out[1]
    assert "--markdown $GITHUB_STEP_SUMMARY" in compared["ARGS"]
    assert "--junit " in compared["ARGS"]
    (kept,) = (step for step in steps(path) if "upload-artifact" in step.get("uses", ""))
    assert kept["if"] == "${{ !cancelled() }}", "a failed run's report is the one that is needed"
    as_expressions = out[1].replace("$GITHUB_RUN_ID", "${{ github.run_id }}")
    as_expressions = as_expressions.replace("$GITHUB_RUN_ATTEMPT", "${{ github.run_attempt }}")
    assert as_expressions in kept["with"]["path"].split("\n")


def test_the_baseline_is_measured_as_ci_measures() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    documented = re.search(r'^    make bench ARGS="(.*)"$', text, re.MULTILINE)
    assert documented is not None
    (ci, *_) = WORKFLOWS
    assert documented[1] == made(ci, "bench")["ARGS"].replace("results/ci", "results/baseline")
    assert "BASE ?= results/baseline\n" in MAKEFILE


def test_only_a_baselines_records_are_kept_in_git() -> None:
    ignored = (REPOSITORY / ".gitignore").read_text().splitlines()
    assert [line for line in ignored if "baseline" in line] == [
        "!/results/baseline/",
        "/results/baseline/*",
        "!/results/baseline/plan.json",
        "!/results/baseline/records.jsonl",
    ]


@workflow
def test_actions_are_pinned_by_commit_and_the_version_is_said(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.search(r"uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@workflow
def test_a_workflow_may_only_read_and_ends(path: Path) -> None:
    whole = content(path)
    assert whole["permissions"] == {}
    assert whole["concurrency"]["group"]
    for job in whole["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
        assert job["timeout-minutes"] <= 360
    (checkout,) = (step for step in steps(path) if "actions/checkout" in step.get("uses", ""))
    assert checkout["with"]["persist-credentials"] is False


def test_the_farm_is_off_until_it_is_switched_on() -> None:
    (job,) = content(WORKFLOWS[1])["jobs"].values()
    assert job["if"] == "${{ vars.TENPASS_FARM == 'true' }}"
    assert job["runs-on"] == ["self-hosted", "tenpass"]
    assert set(content(WORKFLOWS[1])[True]) == {"workflow_dispatch", "schedule"}  # YAML 1.1 reads `on` as true


def test_the_workflows_are_linted_with_everything_else() -> None:
    recipe = MAKEFILE.split("\ncheck: ")[1].split("\n\n")[0]
    assert "check-jsonschema --builtin-schema vendor.github-workflows" in recipe
    assert "zizmor --offline" in recipe
