"""Load a score, or a fleet, with the place of everything in its file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from marianne_core.config.marks import Marks
from marianne_core.config.read import ScoreError, read_model
from marianne_core.config.score.extras import FleetConfig
from marianne_core.config.score.job import JobConfig
from marianne_core.config.source import Source, parse_source, read_source

__all__ = ["Score", "ScoreError", "load_fleet", "load_score", "score_from_text"]


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """A score as it was read."""

    path: Path
    """Absolute path of its file."""
    text: str
    """The file's text."""
    config: JobConfig
    """What it says."""
    marks: Marks
    """Where everything stands in the file."""
    source: Source
    """The same, as plain data: what was really written, without defaults."""

    @property
    def job_id(self) -> str:
        """The name its jobs get: the file's name without its ending."""
        return self.path.stem


def load_score(path: Path) -> Score:
    """Read a score file.

    Raises InputError when it cannot be read or is not YAML, and ScoreError, with all problems and
    their lines, when it does not fit the schema.
    """
    return _score(read_source(path), path)


def score_from_text(text: str, path: Path) -> Score:
    """A score from the text of the file `path`, which is not opened. Raises as `load_score`."""
    return _score(parse_source(text, path), path)


def load_fleet(path: Path) -> FleetConfig:
    """Read a fleet file (`type: fleet`). Raises as `load_score`."""
    return read_model(FleetConfig, read_source(path), ScoreError)


def _score(source: Source, path: Path) -> Score:
    config = JobConfig.from_source(source)
    return Score(Path(os.path.abspath(path)), source.text, config, source.marks, source)
