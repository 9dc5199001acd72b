"""Which checkpoint each network gets, from what was said on a command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from models.spec import ModelError


def parse_weights(values: Iterable[str], names: Sequence[str]) -> dict[str, Path]:
    """Model name -> checkpoint, from options `FILE` (for the only one of `names`) or `NAME=FILE`.

    Raises ModelError for an option that fits none of `names`, or names a file that is not there.
    """
    checkpoints: dict[str, Path] = {}
    for value in values:
        name, equals, file = value.partition("=")
        if not equals or Path(value).is_file():  # a file's own name may hold a "="
            if len(names) != 1:
                raise ModelError(f"--weights {value}: of which model? Give NAME=FILE, or one name in --models")
            name, file = names[0], value
        if name not in names:
            raise ModelError(f"--weights {value}: {name!r} is not among --models {','.join(names)}; give NAME=FILE")
        if name in checkpoints:
            raise ModelError(f"--weights {value}: {name} is given a checkpoint twice")
        if not Path(file).is_file():
            raise ModelError(f"--weights {value}: there is no file {file!r}")
        checkpoints[name] = Path(file)
    return checkpoints
