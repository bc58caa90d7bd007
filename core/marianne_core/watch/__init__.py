"""The event bus and, later, probes."""

from __future__ import annotations
