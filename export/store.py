"""Where artifacts lie: one folder each, made whole beside its place, then put there; found again while up to date."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.artifact import Artifact, ExportError, read_artifact, write_manifest
from toolchain.compile import locked
from toolchain.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def stored(
    name: str,
    folder: Path,
    recipe_sha256: str,
    make: Callable[[Path], Artifact],
    *,
    anew: bool = False,
    keeps_old: bool = False,
) -> Artifact:
    """The artifact of `name` in `folder`: the one there if it has this recipe, else what `make` puts into a workspace's
    folder `new`.

    `anew` makes it in any case. Any number of processes may ask for one folder at once. When `make` raises
    ExportError, nothing new is there, and what was there before stays, but no longer counts as up to date, unless
    `keeps_old`. Raises ExportError, also for a folder that cannot be written.
    """

    def present() -> Artifact | None:
        return None if anew else _up_to_date(folder, recipe_sha256)

    if artifact := present():
        return artifact
    try:
        with locked(folder.parent / f".{folder.name}.lock"), replacing(folder) as workspace:
            if artifact := present():  # another process made it while this one waited
                return artifact
            try:
                artifact = make(workspace)
            except ExportError:
                if not keeps_old:
                    _outdate(folder)
                raise
            write_manifest(artifact)
    except OSError as error:
        where = str(error.filename or folder)
        raise ExportError(f"{name}: cannot write {where!r}: {error.strerror or error}") from error
    return replace(artifact, folder=folder)


@contextmanager
def naming(name: str, what: str) -> Iterator[None]:
    """Turns whatever a tool raises into an ExportError that names the model and what was being done."""
    try:
        yield
    except (OSError, ExportError):
        raise
    except Exception as error:  # torch, onnxsim and ONNX Runtime each have their own
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"{name}: {what} failed: {first_line}") from error


def _up_to_date(folder: Path, recipe_sha256: str) -> Artifact | None:
    try:
        artifact = read_artifact(folder)
    except ExportError:
        return None
    return artifact if artifact.recipe_sha256 == recipe_sha256 else None


def _outdate(folder: Path) -> None:
    """Keeps the artifact in `folder`, if there is one, from counting as up to date."""
    try:
        write_manifest(replace(read_artifact(folder), recipe_sha256=""))
    except ExportError:
        return  # none there, or a damaged one, which counts for nothing
