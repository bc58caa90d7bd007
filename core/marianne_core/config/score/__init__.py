"""The score: every block that a person may write in one."""

from __future__ import annotations
