"""Effects: processes, output, validation, recovery."""

from __future__ import annotations
