"""What a person writes: scores, instrument profiles, conductor.yaml, and the checks on them."""

from __future__ import annotations
