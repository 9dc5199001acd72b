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
OTHER_COMMANDS = (
    "apt-get ",
    "git config --global --add safe.directory ",
    "mkdir -p build/pip",
    'echo "PIP_CACHE_DIR=$GITHUB_WORKSPACE/build/pip" >> "$GITHUB_ENV"',
    "rm -rf results/farm-before",
    "cp -r ",
    'cat results/ci/report.md >> "$GITHUB_STEP_SUMMARY"',
)

#: What may stand where in an expression (GitHub's table "Context availability"): of a step's own keys all of these may.
IN_A_STEP = {"github", "vars", "runner"}
IN_A_JOB = {"env": {"github", "vars"}, "if": {"github", "vars"}, "name": {"matrix"}, "runs-on": {"matrix"}}
IN_A_WORKFLOW = {"concurrency": {"github", "vars"}}
#: Contexts whose paths are the host's, wherever the job runs (github.com/actions/runner/issues/2058).
PATHS_OF_THE_HOST = ("github.workspace", "runner.workspace", "runner.temp", "runner.tool_cache", "github.action_path")

workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
benching = pytest.mark.parametrize("path", [WORKFLOWS[0], WORKFLOWS[1]], ids=lambda path: path.stem)


def content(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in content(path)["jobs"].values() for step in job["steps"]]


def commands(path: Path) -> list[str]:
    return [line for step in steps(path) for line in step.get("run", "").splitlines() if line]


def made(path: Path, target: str) -> list[dict[str, str]]:
    """The variables that the workflow gives to this target of make, each time that it is made."""
    lines = [line for line in commands(path) if line.startswith(f"make {target}")]
    return [dict(word.split("=", 1) for word in shlex.split(line)[2:]) for line in lines]


def expressions(value: object) -> list[str]:
    """All that stands in ${{ }} below here."""
    if isinstance(value, dict):
        return [found for each in value.values() for found in expressions(each)]
    if isinstance(value, list):
        return [found for each in value for found in expressions(each)]
    return re.findall(r"\$\{\{(.+?)\}\}", str(value))


def contexts(value: object) -> set[str]:
    """What the expressions below here speak of, texts and functions left out."""
    bare = [re.sub(r"'[^']*'", "", expression) for expression in expressions(value)]
    return {name for each in bare for name in re.findall(r"(?<![\w.])([a-z_]+)\.", each)}


def test_there_are_a_workflow_for_ci_one_for_a_farm_and_one_for_each_night() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "device-farm", "nightly"]


@workflow
def test_an_expression_uses_what_there_is_where_it_stands(path: Path) -> None:
    whole = content(path)
    for key in set(whole) - {"jobs", True}:
        assert contexts(whole[key]) <= IN_A_WORKFLOW.get(key, set()), key
    for job in whole["jobs"].values():
        for key in set(job) - {"steps"}:
            assert contexts(job[key]) <= IN_A_JOB.get(key, set()), key
            assert "hashFiles" not in str(job[key])
        assert contexts(job["steps"]) <= IN_A_STEP


@workflow
def test_no_path_is_the_hosts_where_a_job_runs_in_a_container(path: Path) -> None:
    for job in content(path)["jobs"].values():
        if "container" in job:
            assert not [name for name in PATHS_OF_THE_HOST if any(name in one for one in expressions(job))]


@workflow
def test_what_pip_fetches_is_kept_where_the_parts_are(path: Path) -> None:
    """As an absolute path, of the shell's own variable, in a folder that root has made: pip keeps nothing elsewhere."""
    for job in content(path)["jobs"].values():
        if "container" not in job:
            continue
        runs = [step.get("run", "") for step in job["steps"]]
        (cache,) = (step["with"] for step in job["steps"] if "actions/cache@" in step.get("uses", ""))
        assert cache["path"] == "build"
        kept = 'mkdir -p build/pip\necho "PIP_CACHE_DIR=$GITHUB_WORKSPACE/build/pip" >> "$GITHUB_ENV"\n'
        assert runs.index(kept) < next(number for number, run in enumerate(runs) if run.startswith("make "))
        for file in ("pyproject.toml", "constraints.txt", "toolchain/*.lock.json"):
            assert f"'{file}'" in cache["key"]


@workflow
def test_what_can_be_kept_once_has_a_name_for_each_attempt(path: Path) -> None:
    """Artifacts' names and caches' keys are never given again; a run that is started again keeps its number."""
    for step in steps(path):
        if "upload-artifact@" in step.get("uses", ""):
            assert "${{ github.run_attempt }}" in step["with"]["name"]
        if "cache/save@" in step.get("uses", ""):
            assert "${{ github.run_id }}-${{ github.run_attempt }}" in step["with"]["key"]


def test_each_night_all_tests_are_run() -> None:
    nightly = content(WORKFLOWS[2])
    assert set(nightly[True]) == {"workflow_dispatch", "schedule"}
    assert "make test-all" in commands(WORKFLOWS[2])
    prepared = steps(WORKFLOWS[2])[:-1]
    assert prepared == steps(WORKFLOWS[0])[: len(prepared)], "the same machine, prepared in the same way"


def test_what_is_run_before_a_change_is_finished_is_the_short_tier_and_all() -> None:
    recipes = {name: MAKEFILE.split(f"\n{name}: ")[1].split("\n\n")[0] for name in ("test", "test-all")}
    assert "pytest $(ARGS)" in recipes["test"]
    assert "pytest --all $(ARGS)" in recipes["test-all"]
    assert "make test\n" in (REPOSITORY / ".ci" / "run").read_text()


@workflow
def test_every_command_is_a_target_of_make_or_prepares_a_bare_machine(path: Path) -> None:
    assert any(line.startswith("make ") for line in commands(path))
    for line in commands(path):
        if line.startswith("make "):
            assert shlex.split(line)[1] in TARGETS, line
        else:
            assert line.startswith(OTHER_COMMANDS), line


@benching
def test_options_that_are_handed_to_the_benchmark_are_options_it_has(path: Path) -> None:
    known = {name for option in bench.params for name in option.opts}
    for variables in made(path, "bench"):
        given = [word for word in shlex.split(variables["ARGS"]) if word.startswith("--")]
        assert given
        assert set(given) <= known


@benching
def test_the_outcome_is_compared_shown_and_kept(path: Path) -> None:
    [out] = {word for each in made(path, "bench") for word in re.findall(r"--out (\S+)", each["ARGS"])}
    [compared] = made(path, "compare")
    assert compared["NEW"] == out
    assert "--markdown $GITHUB_STEP_SUMMARY" in compared["ARGS"]
    assert "--junit " in compared["ARGS"]
    (kept,) = (step for step in steps(path) if "upload-artifact" in step.get("uses", ""))
    assert kept["if"] == "${{ !cancelled() }}", "a failed run's report is the one that is needed"
    as_expressions = out.replace("$GITHUB_RUN_ID", "${{ github.run_id }}")
    as_expressions = as_expressions.replace("$GITHUB_RUN_ATTEMPT", "${{ github.run_attempt }}")
    assert as_expressions in kept["with"]["path"].split("\n")


def test_the_baseline_is_measured_as_ci_measures() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    documented = re.search(r'^    make bench ARGS="(.*)"$', text, re.MULTILINE)
    assert documented is not None
    (ci, *_) = WORKFLOWS
    assert documented[1] == made(ci, "bench")[0]["ARGS"].replace("results/ci", "results/baseline")
    assert "BASE ?= results/baseline\n" in MAKEFILE


def test_an_arm64_machine_runs_the_same_tests_and_is_measured_itself() -> None:
    """What counts instructions is compared with the baseline where that was made; what hardware took is shown."""
    [job] = content(WORKFLOWS[0])["jobs"].values()
    assert job["strategy"] == {"fail-fast": False, "matrix": {"machine": ["ubuntu-latest", "ubuntu-24.04-arm"]}}
    assert job["runs-on"] == "${{ matrix.machine }}"
    conditions = {step["run"]: step.get("if", "") for step in job["steps"] if "run" in step}
    assert conditions["make test"] == ""
    architectures = {
        line: re.findall(r"runner\.arch == '(\w+)'", condition)
        for line, condition in conditions.items()
        if line.startswith(("make bench", "make compare", "cat "))
    }
    for line, where in architectures.items():
        assert where == (["X64"] if "board:" in line or "compare" in line else ["ARM64"]), line
    assert any("--device host " in line for line in architectures)
    (kept,) = (step for step in job["steps"] if "upload-artifact" in step.get("uses", ""))
    assert "${{ runner.arch }}" in kept["with"]["name"], "both keep their own"


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
