"""V301: techniques whose document is nowhere to be found."""

from __future__ import annotations

import os
from pathlib import Path

from marianne_core.config.checks.findings import Findings
from marianne_core.config.load import Score
from marianne_core.config.score.extras import TechniqueKind


def check_techniques(score: Score, findings: Findings, workspace: Path | None) -> None:
    """Is there a document for every skill?"""
    for name, technique in score.config.techniques.items():
        if technique.kind is not TechniqueKind.SKILL:
            continue
        places = _documents(score, name, technique.config.get("path"), workspace)
        if not any(os.path.isfile(place) for place in places):
            findings.warn(
                "V301",
                f"there is no document for the skill {name!r}",
                "techniques",
                name,
                hint=f"write {places[-1]}, or give its `config: {{path: ...}}`",
            )


def _documents(score: Score, name: str, given: object, workspace: Path | None) -> list[Path]:
    """Where a skill's document may lie (field reference, section 9)."""
    own = Path(".marianne", "techniques")
    places: list[Path] = []
    if isinstance(given, str) and given:
        path = Path(os.path.expanduser(given))
        folders = (score.path.parent, workspace or score.config.workspace, Path.cwd())
        places += [folder / path for folder in folders]
    return [
        *places,
        score.path.parent / own / f"{name}.md",
        Path.home() / own / name / "SKILL.md",
        Path.cwd() / own / f"{name}.md",
        Path.home() / own / f"{name}.md",
    ]
