"""Files and folders that a score names: V002, V004, V005."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marianne_core.config.checks.findings import Findings
from marianne_core.config.load import Score
from marianne_core.config.marks import Key
from marianne_core.config.score.job import JobConfig


def check_files(score: Score, findings: Findings, workspace: Path | None) -> None:
    """Can the workspace be made and written, and are files there that a score needs?"""
    _check_workspace(score, findings, workspace)
    folder = score.path.parent
    for at, settings in blocks_of_settings(score.config):
        name = settings.get("system_prompt_file")
        if name and not os.path.isfile(folder / Path(name).expanduser()):
            findings.error(
                "V004",
                f"the system prompt file {name} does not exist",
                *at,
                "system_prompt_file",
                hint="paths of files are relative to the score file",
            )
        directory = settings.get("working_directory")
        if directory:
            _check_directory(directory, (*at, "working_directory"), findings)
    for place, rule in enumerate(score.config.validations):
        if rule.working_directory and "{" not in rule.working_directory:
            at = ("validations", place, "working_directory")
            _check_directory(rule.working_directory, at, findings)


def blocks_of_settings(config: JobConfig) -> Iterator[tuple[tuple[Key, ...], dict[str, Any]]]:
    """Every block of instrument settings in a score, with the keys that lead to it."""
    yield ("backend",), config.backend.model_dump(exclude_unset=True)
    yield ("instrument_config",), config.instrument_config
    for name, alias in config.instruments.items():
        yield ("instruments", name, "config"), alias.config
    for number, movement in config.movements.items():
        yield ("movements", number, "instrument_config"), movement.instrument_config
    for number, settings in config.sheet.per_sheet_instrument_config.items():
        yield ("sheet", "per_sheet_instrument_config", number), settings


def may_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder, as far as that can be told without making one."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    # To root they look as if they could be written.
    kernel = [os.stat(place).st_dev for place in ("/proc", "/sys") if os.path.ismount(place)]
    return os.stat(folder).st_dev not in kernel


def _check_workspace(score: Score, findings: Findings, given: Path | None) -> None:
    if given is None and "workspace" not in score.source.data:
        return  # below ~/workspaces, which is made when needed
    workspace = given or score.config.workspace
    if os.path.isdir(workspace):
        if not may_be_written(workspace):
            findings.error("V002", f"the workspace {workspace} cannot be written", "workspace")
        return
    if os.path.lexists(workspace) and not os.path.isdir(workspace):  # it may be made this moment
        findings.error("V002", f"the workspace {workspace} is not a directory", "workspace")
        return
    parent = workspace.parent
    if not os.path.isdir(parent):
        findings.error(
            "V002",
            f"the workspace cannot be made: {parent} does not exist",
            "workspace",
            hint=f"mkdir -p {parent}",
        )
    elif not may_be_written(parent):
        findings.error(
            "V002",
            f"the workspace cannot be made: {parent} cannot be written",
            "workspace",
            hint="choose another place with -w",
        )


def _check_directory(name: str, at: tuple[Key, ...], findings: Findings) -> None:
    """An absolute directory must be there; sheets may still make one in the workspace."""
    directory = Path(name).expanduser()
    if directory.is_absolute() and not os.path.isdir(directory):
        findings.error("V005", f"the working directory {name} does not exist", *at)
