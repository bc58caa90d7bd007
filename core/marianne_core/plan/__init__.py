"""From a score to sheets: fan-out, dependencies, instruments, templates, conditions, context."""

from __future__ import annotations
