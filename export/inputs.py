"""What networks are given: the reference inputs and the data for calibration, drawn by type or read from .npz files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.artifact import ExportError
from models.noise import Noise
from toolchain.tensors import Port

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The seed of the reference inputs; calibration draws with those that follow it. Not the weights' own seed: the inputs
#: would be the images that the weights were made with.
INPUT_SEED = 100

#: A choice: the largest and smallest value of each tensor are then of eight times as many values.
CALIBRATION_DRAWS = 8

#: A choice, as for an ONNX file and its data (export/own/foreign.py).
MOST_BYTES = 512 * 1024 * 1024


def draw(ports: Sequence[Port], seed: int = INPUT_SEED) -> dict[str, NDArray[Any]]:
    """Random values for each of `ports`, by type.

    Floating point numbers are nearly normal noise, the same on any machine; bytes (uint8) any, as those of an image
    are; other integers and bools 0 or 1, which are valid for any table that they index and any mask that they are.
    """
    noise = Noise(seed)

    def values(port: Port) -> NDArray[Any]:
        dtype = np.dtype(port.type)
        if dtype.kind == "f":
            return np.asarray(noise.normal(port.shape)).astype(dtype)
        return np.asarray(noise.whole(256 if dtype == np.uint8 else 2, port.shape)).astype(dtype)

    return {port.name: values(port) for port in ports}


def calibration_draws(ports: Sequence[Port]) -> list[dict[str, NDArray[Any]]]:
    """Random samples for calibration, other than the reference inputs."""
    return [draw(ports, INPUT_SEED + place) for place in range(1, CALIBRATION_DRAWS + 1)]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in an .npz file by name. Raises ExportError, with one line, for what is none or is too large."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise ExportError(f"{path}: it holds more than {MOST_BYTES} bytes; give fewer or smaller arrays")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        raise ExportError(f"{path}: not an .npz file of arrays, as numpy.savez writes them: {error}") from None


def read_inputs(path: Path, ports: Sequence[Port]) -> dict[str, NDArray[Any]]:
    """One value for each of `ports` from an .npz file. Raises ExportError for a wrong name, type or shape."""
    arrays = read_arrays(path)
    _require_names(path, arrays, ports)
    for port in ports:
        found = arrays[port.name]
        if (found.dtype.name, found.shape) != (port.type, port.shape):
            raise ExportError(f"{path}: {port.name!r} is {found.dtype.name} {list(found.shape)}; the input is {port}")
    return {port.name: arrays[port.name] for port in ports}


def read_samples(path: Path, ports: Sequence[Port]) -> list[dict[str, NDArray[Any]]]:
    """Any number of samples for calibration from an .npz file.

    Each array has a leading axis of samples more than the input, or, where the input's first axis is 1, as many samples
    along it; an array as the input is one sample. Raises ExportError for a wrong name, type, shape or count.
    """
    arrays = read_arrays(path)
    _require_names(path, arrays, ports)
    apart = {port.name: _samples(path, port, arrays[port.name]) for port in ports}
    counts = {name: len(samples) for name, samples in apart.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        said = ", ".join(f"{name!r} {count}" for name, count in counts.items())
        raise ExportError(f"{path}: each input needs as many samples, and one at least; there are {said}")
    return [dict(zip(apart, sample, strict=True)) for sample in zip(*apart.values(), strict=True)]


def _samples(path: Path, port: Port, found: NDArray[Any]) -> list[NDArray[Any]]:
    if found.dtype.name == port.type:
        if found.shape == port.shape:
            return [found]
        if found.shape[1:] == port.shape:
            return list(found)
        if port.shape[:1] == (1,) and found.shape[1:] == port.shape[1:]:
            return list(found[:, np.newaxis])
    raise ExportError(
        f"{path}: {port.name!r} is {found.dtype.name} {list(found.shape)}; the input is {port}, samples of it have one "
        "axis more, in front"
    )


def _require_names(path: Path, arrays: Mapping[str, object], ports: Sequence[Port]) -> None:
    wanted = [port.name for port in ports]
    if missing := [name for name in wanted if name not in arrays]:
        raise ExportError(f"{path}: it has no {missing[0]!r}; the inputs are {', '.join(map(str, ports))}")
    if unknown := [name for name in arrays if name not in wanted]:
        raise ExportError(f"{path}: {unknown[0]!r} is no input; the inputs are {', '.join(map(str, ports))}")
