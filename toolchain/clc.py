"""The library with the operator for chains of channel local convolutions (device/runner/clc/README.md), for each ABI.

On this machine: `onnxruntime.SessionOptions().register_custom_ops_library(str(clc.library()))`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from toolchain import compile as compiling
from toolchain.compile import Toolchain

LIBRARY = "libtenpass_clc.so"


@cache
def library(chain: Toolchain | None = None) -> Path:
    """The library for a toolchain (default: this machine's), compiled first where need be. Raises ToolchainError."""
    return compiling.compiled(chain or compiling.native(), "tenpass-clc", file=LIBRARY)


def recipe() -> str:
    """A text that changes when this machine's library does."""
    return compiling.recipe(compiling.native())
