"""What several tests share: exported networks, requests for the runner."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_adb
import pytest
import real_sshd
from fake_adb import FakeAdb, serving
from hypothesis import settings
from real_sshd import Sshd

from device.records import RunRequest
from export.artifact import Artifact
from export.onnx.to_onnx import to_onnx
from export.pipeline import export_model
from harness.record.runtimes import CPU, build_bundle
from models import clcnet, registry, weights
from toolchain.files import describe
from toolchain.paths import EXPORTS

# The same commit gives the same verdict; TENPASS_EXPLORE=1 tries examples that nobody has tried yet.
settings.register_profile("tenpass", derandomize="TENPASS_EXPLORE" not in os.environ, deadline=None)
settings.load_profile("tenpass")

os.environ.setdefault("TENPASS_BOOT_TIMEOUT_S", "240")  # several boards may boot at once on two cores


#: The slowest first, so that all processes come to their ends together.
SLOW_FILES = (
    "test_cpp",
    "test_board_faults",
    "test_farm",
    "test_end_to_end",
    "test_faults",
    "test_caffe2_runner",
    "test_own",
    "test_board",
    "test_counting",
    "test_runner",
    "test_model_fuzz",
    "test_igc",
    "test_export",
    "test_precision",
    "test_html",
    "test_run",
    "test_resume",
    "test_selfcheck",
)


#: The tests that this run leaves out, by file; processes tell the one that prints it.
LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also the tests that are marked as long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order = {name: position for position, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    if config.getoption("--all"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    config.stash[LEFT_OUT] = dict(Counter(item.location[0] for item in long))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """All processes collect the same tests, so that any one's word is the whole."""
    told = getattr(node, "workeroutput", {}).get("left_out")
    if told:
        node.config.stash[LEFT_OUT] = told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash.get(LEFT_OUT, {})
    if not left_out:
        return
    terminalreporter.section(f"left out: {sum(left_out.values())} long tests (`make test-all` runs them, too)")
    for file, count in sorted(left_out.items()):
        terminalreporter.write_line(f"{count:4} in {file}")


@pytest.fixture(scope="session", autouse=True)
def locks_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Test processes side by side, and whoever else measures here, do not wait for one another."""
    folder = tmp_path_factory.mktemp("locks")
    folder.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENPASS_LOCKS", str(folder))
        yield


@pytest.fixture(scope="session")
def sshd_that_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with real_sshd.serving(tmp_path_factory.mktemp("sshd")) as one:
        yield one


@pytest.fixture
def sshd(sshd_that_runs: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """A real sshd on this machine, which lets the client in unless the test changes that; no phone is attached."""
    with fake_adb.serving(tmp_path / "adb", {}) as no_phones:
        monkeypatch.setenv("TENPASS_SSH_CONFIG", str(sshd_that_runs.config))
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", f"{no_phones.port}")
        sshd_that_runs.configure()
        yield sshd_that_runs
    sshd_that_runs.cable.mend()


@pytest.fixture(scope="session")
def tiny() -> Artifact:
    """The registry's smallest network, exported and verified (reused when up to date)."""
    return export_model(registry.get("clcnet-tiny"), EXPORTS)


@pytest.fixture(scope="session")
def without_one_interlace(tiny: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """What says that it is `tiny`, with all its references, but computes it without one of its interlaces."""
    folder = tmp_path_factory.mktemp("wrong") / "artifact"
    shutil.copytree(tiny.folder, folder)
    spec = registry.get("clcnet-tiny")
    network = clcnet.clcnet_tiny().eval()
    weights.seed(network, spec.input_shape)
    interlaces = [module for module in network.modules() if isinstance(module, clcnet.Interlace)]
    interlaces[len(interlaces) // 2].forward = lambda x: x
    model = folder / tiny.model_files[0].name
    to_onnx(network, spec.input_shape, model)
    return replace(tiny, folder=folder, model_files=(describe(model),))


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAdb]:
    """An adb server with nothing attached, the one that is asked where none is named."""
    with serving(tmp_path / "device", {}) as fake:
        fake.root.mkdir()
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(fake.port))
        monkeypatch.delenv("ANDROID_SERIAL", raising=False)
        yield fake


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., RunRequest]:
    """A request to run an artifact in this ABI's bundle, which may have another execution provider than the CPU's.

    Its output goes below the test's own folder.
    """

    def make(
        artifact: Artifact,
        abi: str,
        *,
        runtime: str = "onnxruntime",
        bundle_with: str = CPU,
        passes: int = 3,
        warmup: int = 1,
        timeout_s: float = 60,
    ) -> RunRequest:
        return RunRequest(
            bundle=build_bundle(abi, runtime, bundle_with),
            model_files=artifact.local_model_files,
            inputs=artifact.input_tensors,
            output_path=tmp_path / "output",
            passes=passes,
            warmup=warmup,
            timeout_s=timeout_s,
        )

    return make
