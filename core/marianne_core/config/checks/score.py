"""All static checks of a score together."""

from __future__ import annotations

from pathlib import Path

from marianne_core.config.checks.files import check_files
from marianne_core.config.checks.findings import Findings
from marianne_core.config.checks.instruments import check_instruments
from marianne_core.config.checks.rules import check_rules
from marianne_core.config.checks.structure import check_structure
from marianne_core.config.checks.techniques import check_techniques
from marianne_core.config.checks.versions import check_versions
from marianne_core.config.load import Score
from marianne_core.config.profiles import Profiles
from marianne_core.model.problem import Problem


def check_score(
    score: Score,
    profiles: Profiles,
    *,
    workspace: Path | None = None,
    to_run: bool = False,
) -> list[Problem]:
    """Everything that looks wrong about a score, in the order of its lines.

    `workspace` is looked at instead of the score's own when given (`-w`). With `to_run` an
    instrument that is known but cannot be played is an error, since its sheets are certain to
    fail; without, a warning.
    """
    findings = Findings(score)
    check_files(score, findings, workspace)
    check_instruments(score.config, profiles, findings, to_run=to_run)
    check_rules(score.config, findings)
    check_structure(score, findings)
    check_techniques(score, findings, workspace)
    check_versions(score, findings)
    return findings.in_order()
