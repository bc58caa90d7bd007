"""The program `mzt`."""

from __future__ import annotations

from marianne_core import __version__

__all__ = ["__version__"]
