"""Which checkpoint, or other file, each network gets, from what was said on a command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from models.spec import ModelError


def parse_weights(values: Iterable[str], names: Sequence[str]) -> dict[str, Path]:
    """Model name -> checkpoint, from options `FILE` (for the only one of `names`) or `NAME=FILE`.

    Raises ModelError for an option that fits none of `names`, or names a file that is not there.
    """
    return files_by_model("--weights", values, names)


def files_by_model(option: str, values: Iterable[str], names: Sequence[str]) -> dict[str, Path]:
    """Model name -> file, from the values `FILE` (for the only one of `names`) or `NAME=FILE` of `option`.

    Raises ModelError for a value that fits none of `names`, or names a file that is not there.
    """
    files: dict[str, Path] = {}
    for value in values:
        name, equals, file = value.partition("=")
        if not equals or Path(value).is_file():  # a file's own name may hold a "="
            if len(names) != 1:
                known = f": {', '.join(names)}" if names else ""
                raise ModelError(f"{option} {value}: of which model? Give NAME=FILE, or measure one alone{known}")
            name, file = names[0], value
        if name not in names:
            raise ModelError(f"{option} {value}: {name!r} is not among the models {', '.join(names)}; give NAME=FILE")
        if name in files:
            raise ModelError(f"{option} {value}: {name} is given a file twice")
        if not Path(file).is_file():
            raise ModelError(f"{option} {value}: there is no file {file!r}")
        files[name] = Path(file)
    return files
