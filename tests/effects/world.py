"""A score, an instrument and a conductor.yaml in a folder, read the way a person's files are read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from marianne_core.conductor import Conductor
from marianne_core.config.daemon import DaemonConfig, load_daemon_config
from marianne_core.config.profiles import Profiles, load_profiles
from marianne_core.model.errors import InputError
from marianne_core.model.requests import SubmitRequest
from marianne_core.plan.sheets import Plan
from marianne_core.remember.home import Home
from marianne_core.run.submission import Submission, read_request

Key = str | int

SCORE: Final = "score"
PROFILE: Final = "profile"
CONDUCTOR: Final = "conductor.yaml"
FILES: Final = (SCORE, PROFILE, CONDUCTOR)
"""The three files of a world."""

PATIENCE = 20.0
"""Seconds that a run may take; the test fails then."""


class _Absent:
    """Stands for a field that is not written."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()

ORDINARY: Final[Mapping[str, Mapping[str, Any]]] = {
    SCORE: {
        "name": "song",
        "workspace": "ws",
        "instrument": "player",
        "sheet": {"size": 1, "total_items": 1},
        "prompt": {"template": "play sheet {{ sheet_num }}"},
        "retry": {"max_retries": 0},
    },
    PROFILE: {
        "name": "player",
        "display_name": "Player",
        "kind": "cli",
        "cli": {"command": {"executable": "true"}},
    },
    CONDUCTOR: {},
}
"""A world in which nothing is remarkable."""


@dataclass(frozen=True)
class World:
    """One world: a folder with the files and what the program makes of them."""

    folder: Path
    files: Mapping[str, Mapping[str, Any]]
    """The data of each of `FILES`."""

    def write(self) -> None:
        """Put the files down; the workspace is there and empty."""
        for folder in (self.workspace, self.instruments):
            folder.mkdir(parents=True)
        targets = (self.score_path, self.instruments / "player.yaml", self.conductor_path)
        for name, path in zip(FILES, targets, strict=True):
            path.write_text(yaml.safe_dump(dict(self.files[name]), sort_keys=False))

    def put(self, name: str, text: str = "") -> Path:
        """Write a file of the workspace; returns its path."""
        path = self.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def program(self, text: str) -> None:
        """What an instrument with the executable `./program` does: lines for bash."""
        path = self.folder / "program"
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def lines(self, name: str) -> list[str]:
        """Lines of a file of the workspace; none if it is not there."""
        path = self.workspace / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def score_path(self) -> Path:
        return self.folder / "song.yaml"

    @property
    def conductor_path(self) -> Path:
        """Where the program looks for it when the folder is the home directory."""
        return self.folder / ".marianne" / "conductor.yaml"

    @property
    def instruments(self) -> Path:
        """Where the program looks for profiles when the folder is the home directory."""
        return self.folder / ".marianne" / "instruments"

    @property
    def workspace(self) -> Path:
        return self.folder / "ws"

    @property
    def home(self) -> Home:
        return Home(self.folder / "state")

    @property
    def environ(self) -> dict[str, str]:
        """What instruments and commands inherit."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.folder),
            "CITY": "Rome",
            "MARIANNE_HOME": str(self.home.root),
        }

    @cached_property
    def profiles(self) -> Profiles:
        return load_profiles([self.instruments])

    @cached_property
    def settings(self) -> DaemonConfig:
        return load_daemon_config(self.conductor_path)

    @cached_property
    def submission(self) -> Submission:
        """The score as the conductor takes it on. Raises InputError when it is refused."""
        return read_request(SubmitRequest(str(self.score_path)), self.profiles, self.settings)

    @property
    def plan(self) -> Plan:
        return self.submission.plan

    @property
    def refusal(self) -> str:
        """The words with which the score is refused, or ""."""
        try:
            _ = self.submission
        except InputError as error:
            return str(error)
        return ""

    def conductor(self) -> Conductor:
        """A whole conductor of this world."""
        return Conductor(
            self.settings, self.home, seed=1, environ=self.environ, profiles=self.profiles
        )

    async def run(self, *, fresh: bool = False) -> dict[str, Any]:
        """Really run the score to its end; its status, as `mzt status --json` prints it."""
        async with asyncio.timeout(PATIENCE), self.conductor() as conductor:
            reply = await conductor.submit(SubmitRequest(str(self.score_path), fresh=fresh))
            assert reply.status == "accepted", reply.message
            await conductor.idle.wait()
            return await conductor.status(reply.job_id)


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings as one, with `above` on top at every depth; ABSENT takes a key away."""
    merged = deepcopy(dict(below))
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            merged[key] = laid_over(old, value)
        elif isinstance(value, _Absent):
            merged.pop(key, None)
        else:
            merged[key] = deepcopy(value)
    return merged


def changed(data: Mapping[str, Any], at: Sequence[Key], value: Any) -> dict[str, Any]:
    """A copy of a file's data with one value changed, or taken away with ABSENT."""
    copy = deepcopy(dict(data))
    *above, last = at
    node: Any = copy
    for key in above:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[key]
    if isinstance(value, _Absent):
        node.pop(last, None)
    else:
        node[last] = value
    return copy
