"""SQLite: schema, journal, registry, and the state directory."""

from __future__ import annotations
