"""Instruments: from a profile and a prompt to a process, and from its output to a result."""

from __future__ import annotations
