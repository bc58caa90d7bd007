"""Checks of a score that need neither its templates rendered nor its sheets planned.

The codes are those of the field reference, section 8.3, and ours from V213 on. Checks that need
rendering or the graph of sheets are made where scores are planned.
"""

from __future__ import annotations

from marianne_core.config.checks.score import check_score

__all__ = ["check_score"]
