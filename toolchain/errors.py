"""What can go wrong where native parts come from. Every message says what is missing, and what to do."""

from __future__ import annotations


class ToolchainError(Exception):
    """A part that programs are made of cannot be had."""


class BuildError(ToolchainError):
    """A compiler, a wheel or a library is missing, or does not do its work."""
