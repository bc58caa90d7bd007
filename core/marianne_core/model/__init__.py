"""Words that every room shares: states, waits, outcomes, events, errors."""

from __future__ import annotations
