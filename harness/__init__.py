"""Measures networks on ARM devices, and says how sure a figure is. `harness.benchmark` is a run as a library call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import Results as Results
    from harness.api import benchmark as benchmark


def __getattr__(name: str) -> Any:
    """Imports what is public when it is first asked for: `import harness` alone is light."""
    if name in ("benchmark", "Results"):
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
