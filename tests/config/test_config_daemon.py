"""conductor.yaml: defaults, file, profile, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from marianne_core.config.daemon import (
    PROFILES,
    DaemonConfig,
    find_config_file,
    load_daemon_config,
    read_daemon_config,
)
from marianne_core.config.read import ConfigError
from marianne_core.model.errors import InputError
from marianne_core.model.problem import Severity


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    config = load_daemon_config(environ={"HOME": str(tmp_path)})
    assert config == DaemonConfig()
    assert config.max_concurrent_jobs == 15
    assert config.max_concurrent_sheets == 25
    assert config.grace_seconds == 5
    assert config.fallback_after_seconds == 300
    assert config.socket.permissions == 0o600
    assert config.config_file is None


def test_the_file_is_looked_for_in_two_places(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert find_config_file(environ) is None
    default = write(tmp_path / ".config/marianne/conductor.yaml", "max_concurrent_jobs: 2\n")
    assert find_config_file(environ) == default
    moved = write(tmp_path / "xdg/marianne/conductor.yaml", "max_concurrent_jobs: 3\n")
    environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    assert find_config_file(environ) == moved
    own = write(tmp_path / ".marianne/conductor.yaml", "max_concurrent_jobs: 4\n")
    assert find_config_file(environ) == own
    config = load_daemon_config(environ=environ)
    assert config.max_concurrent_jobs == 4
    assert config.config_file == own


def test_a_file_of_comments_means_the_defaults(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "# max_concurrent_jobs: 2\n")
    assert load_daemon_config(file).max_concurrent_jobs == 15


def test_profiles_win_over_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.yaml",
        "max_concurrent_jobs: 9\nprofiler: {interval_seconds: 30, gpu_enabled: true}\n",
    )
    config = load_daemon_config(file, "dev")
    assert config.max_concurrent_jobs == 2
    assert config.log_level == "debug"
    assert config.profiler.interval_seconds == 2
    assert config.profiler.gpu_enabled
    assert load_daemon_config(file, "intensive").job_timeout_seconds == 48 * 3600


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_valid(name: str, tmp_path: Path) -> None:
    assert load_daemon_config(None, name, {"HOME": str(tmp_path)}) != DaemonConfig()


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no profile 'devv'") as caught:
        load_daemon_config(None, "devv", {"HOME": str(tmp_path)})
    assert caught.value.hint == "did you mean dev?"


def test_use_baton_is_dropped_silently(tmp_path: Path) -> None:
    loaded = read_daemon_config(write(tmp_path / "c.yaml", "use_baton: true\n"))
    assert loaded.problems == ()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("socket:\n  permissions: 0660\n", 2, "0o660 of the socket would let others in"),
        ('socket:\n  permissions: "0o604"\n', 2, "let others in"),
        ("max_concurent_jobs: 3\n", 1, "unknown key"),
        ("max_concurrent_jobs: 51\n", 1, "at most 50"),
        ("max_concurrent_sheets: 0\n", 1, "at least 1"),
        ("\nresource_limits: {max_memory_mb: 511}\n", 2, "at least 512"),
        ("log_level: loud\n", 1, "debug, info"),
        ("job_timeout_seconds: 59\n", 1, "at least 60"),
        ("shutdown_timeout_seconds: 9\n", 1, "at least 10"),
        ("preflight: {token_error_threshold: 5}\n", 1, "must be below"),
        ("learning: {analyze_on: []}\n", 1, "at least 1 entries"),
        ("learning: {analyze_on: [success, success]}\n", 1, "stands twice"),
        ("profiler: {anomaly: {runaway_cpu_threshold: 40}}\n", 1, "at least 50"),
        ("keyring: {instruments: {a: {keys: [{path: x}]}}}\n", 1, "`label` is missing"),
        ("ui: {glyphs: emoji}\n", 1, "unicode or ascii"),
        ("daily_budget: 0\n", 1, "more than 0"),
        ("scheduler: {enabled: true}\n", 1, "unknown key `scheduler`"),
    ],
)
def test_wrong_settings_name_their_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    file = write(tmp_path / "c.yaml", text)
    with pytest.raises(ConfigError) as caught:
        load_daemon_config(file)
    (problem,) = caught.value.problems
    assert problem.line == line
    assert problem.file == str(file)
    assert words in problem.message


def test_narrower_permissions_are_fine(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "socket: {permissions: 0400}\n")
    assert load_daemon_config(file).socket.permissions == 0o400


def test_a_socket_where_others_can_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = write(tmp_path / "c.yaml", f"socket:\n  path: {tmp_path}/x.sock\n")
    with pytest.raises(ConfigError, match="other people can enter") as caught:
        load_daemon_config(file)
    assert caught.value.problems[0].line == 2
    tmp_path.chmod(0o700)
    (problem,) = read_daemon_config(file).problems
    assert problem.severity is Severity.WARNING
    assert "not supported" in problem.message


def test_places_of_older_conductors_are_warned_about(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "pid_file: /tmp/m.pid\nstate_db_path: ~/x.db\n")
    found = read_daemon_config(file).problems
    assert [problem.line for problem in found] == [1, 2]
    assert all("not supported" in problem.message for problem in found)


def test_older_and_newer_settings_are_accepted(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.yaml",
        "learning: {instrument: claude-code, model: m, timeout_seconds: 60}\n"
        "logging: {root: logs, event_log_name: e, max_size_mb: 1, backup_count: 2,"
        " compress: false, retention_days: 3}\n"
        "retention: {history_days: 30, attempt_files_days: 7}\n"
        "on_restart: pause\non_conductor_death: end\ndaily_budget: 10\n"
        "resource_limits: {max_api_calls_per_minute: 30}\nlog_level: WARNING\n"
        "mcp_pool: {servers: {a: {command: x, socket: /run/a}}}\n"
        "ui: {keymap: {job.pause: p}, theme: nord, mouse: false, confirm: false}\n",
    )
    config = load_daemon_config(file)
    assert config.log_level == "warning"
    assert config.logging.root == tmp_path / "logs"
    assert config.ui.keymap == {"job.pause": "p"}


def test_unreadable_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_daemon_config(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="directory"):
        load_daemon_config(tmp_path)
