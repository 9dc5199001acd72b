"""What several tests share: exported networks, requests for the runner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from device import bundle
from device.records import File, RunRequest
from export.artifact import Artifact, ArtifactFile
from export.pipeline import export_model
from harness.run import EXPORTS
from models import registry


@pytest.fixture(scope="session")
def tiny() -> Artifact:
    """The registry's smallest network, exported and verified (reused when up to date)."""
    return export_model(registry.get("clcnet-tiny"), EXPORTS)


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., RunRequest]:
    """A request to run an artifact in this ABI's bundle; its output goes below the test's own folder."""

    def make(artifact: Artifact, abi: str, *, passes: int = 3, warmup: int = 1, timeout_s: float = 60) -> RunRequest:
        def local(file: ArtifactFile) -> File:
            return File(file.name, artifact.folder / file.name, file.sha256, file.size_bytes)

        return RunRequest(
            bundle=bundle.build(abi),
            model_files=tuple(local(file) for file in artifact.model_files),
            input_file=local(artifact.input.file),
            input_shape=artifact.input.shape,
            output_path=tmp_path / "output",
            passes=passes,
            warmup=warmup,
            timeout_s=timeout_s,
        )

    return make
