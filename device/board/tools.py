"""Programs of this machine that boards need."""

from __future__ import annotations

import os
import shutil

from device.board.definitions import BoardUnavailable


def program_path(name: str, package: str) -> str:
    """The path of a program, also from the system's folders; raises BoardUnavailable naming its package."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise BoardUnavailable(f"{name} is missing; install the package {package} (`make setup` does)")
    return path
