"""The conductor: plan, decide, run and remember sheets of command-line agents; no screen."""

from __future__ import annotations

__version__ = "0.1.0"
"""Of the whole distribution; pyproject.toml reads it from here."""
