"""Which data int8 is calibrated with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from export.artifact import ExportError
from toolchain.files import file_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from toolchain.tensors import Port


@dataclass(frozen=True)
class Calibration:
    """The data that int8 is calibrated with: an .npz file of samples, or, without one, random ones."""

    path: Path | None = None
    sha256: str | None = None

    @classmethod
    def from_file(cls, path: Path | None) -> Self:
        """Raises ExportError for a file that cannot be read."""
        if path is None:
            return cls()
        try:
            return cls(path, file_sha256(path))
        except OSError as error:
            raise ExportError(f"calibration data {str(path)!r} cannot be read: {error.strerror}") from None

    def samples(self, ports: Sequence[Port]) -> list[dict[str, NDArray[Any]]]:
        """Values by input. Raises ExportError for a file that does not fit."""
        from export import inputs

        return inputs.calibration_draws(ports) if self.path is None else inputs.read_samples(self.path, ports)

    def description(self, samples: int) -> str:
        """What a reader must know of it."""
        if self.path is None:
            return f"random data ({samples} draws)"
        return f"{self.path.name} sha256 {self.sha256} ({samples} sample{'s' if samples > 1 else ''})"
