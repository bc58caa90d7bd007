from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from marianne_core import __version__
from marianne_core.model.runs import JobRef
from marianne_tui.cli import fast, listing, standing
from marianne_tui.cli.app import cli

from .conftest import program_env

HEAVY = ("asyncio", "pydantic", "rich", "structlog", "textual", "jinja2", "yaml")


def modules_of(home: Path, *arguments: str) -> set[str]:
    """Modules that are loaded after a command line was carried out in a fresh process."""
    code = (
        "import sys\n"
        "from marianne_tui.__main__ import main\n"
        f"status = main({list(arguments)!r})\n"
        "print('MODULES', status, *sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=program_env(home),
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()[-1].split()
    assert words[:2] == ["MODULES", "0"], done.stdout + done.stderr
    return set(words[2:])


def test_version_imports_next_to_nothing(tmp_path: Path) -> None:
    loaded = modules_of(tmp_path / "state", "--version")
    assert not loaded & {*HEAVY, "click", "json", "sqlite3", "pathlib", "marianne_tui.cli.guard"}


@pytest.mark.parametrize("arguments", [("list",), ("list", "--all", "--json"), ("status",)])
def test_list_and_status_import_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    loaded = modules_of(tmp_path / "state", *arguments)
    assert not loaded & {*HEAVY, "click", "dataclasses", "inspect"}


def test_version_is_that_of_the_distribution() -> None:
    done = CliRunner().invoke(cli, ["--version"])
    assert done.output == f"mzt {__version__}\n"


@pytest.mark.parametrize(
    "line",
    [
        "list",
        "list -a",
        "list --all --json",
        "list --limit 3",
        "list -l 3 --limit=4",
        "list -s failed --status=running -a",
        "status",
        "status --json",
        "status hello",
        "status hello#2 -a",
        "status --all --json hello",
    ],
)
def test_the_short_way_and_click_agree(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def show_list(
        *, show_all: bool = False, statuses: Any = (), limit: int = 20, as_json: bool = False
    ) -> None:
        calls.append((show_all, list(statuses), limit, as_json))

    def show_status(
        job: JobRef | None, *, every_sheet: bool = False, as_json: bool = False
    ) -> None:
        calls.append((job, every_sheet, as_json))

    import marianne_tui.cli.commands.list_jobs as list_module
    import marianne_tui.cli.commands.status as status_module

    for module in (listing, list_module):
        monkeypatch.setattr(module, "show_list", show_list)
    for module in (standing, status_module):
        monkeypatch.setattr(module, "show_status", show_status)
    arguments = line.split()
    call = fast.fast_call(arguments)
    assert call is not None
    call()
    cli.main(arguments, standalone_mode=False)
    assert len(calls) == 2
    assert calls[0] == calls[1]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "run x.yaml",
        "list --help",
        "list x",
        "list --limit",
        "list --limit 0",
        "list --limit x",
        "list -s sleeping",
        "list --al",
        "status a b",
        "status --limit 3",
        "status -h",
        "status x -W",
    ],
)
def test_what_the_short_way_does_not_know_goes_to_click(line: str) -> None:
    assert fast.fast_call(line.split()) is None


def test_every_option_of_the_two_commands_is_known_to_the_short_way() -> None:
    context = click.Context(cli)
    known = {
        "list": {*fast._LIST_FLAGS, *fast._LIST_VALUES},
        # Following needs a conductor, and with it all that is slow to import.
        "status": {*fast._STATUS_FLAGS, "-W", "--watch"},
    }
    for name, names in known.items():
        command = cli.get_command(context, name)
        assert command is not None
        declared = {
            option
            for parameter in command.params
            if isinstance(parameter, click.Option)
            for option in parameter.opts
        }
        assert declared == names
