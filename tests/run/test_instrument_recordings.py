"""What the built-in profiles make of the output that the programs really print."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from marianne_core.config.profiles import load_profiles
from marianne_core.model.outcome import Outcome
from marianne_core.read.redact import redact
from marianne_core.run.instrument.reset_time import Reset
from marianne_core.run.instrument.result import ErrorType, InstrumentResult, ResultReader
from tests.real_cli import recordings
from tests.real_cli.agents import AGENTS
from tests.real_cli.recordings import PROOF, RECORDED, RECORDINGS, Case
from tests.real_cli.turns import READ, WRITTEN

PROFILES = load_profiles()
OLDER = "claude-code-2.1.197"


def read(instrument: str, case: str, folder: Path) -> tuple[InstrumentResult, Outcome]:
    """The result and the outcome of a recorded turn, by the built-in profile."""
    return recordings.read(Case(instrument, case), folder)


@pytest.mark.parametrize("case", recordings.cases(), ids=str)
def test_a_recorded_turn_is_read_like_this(case: Case, tmp_path: Path) -> None:
    """`MARIANNE_GOLDEN=1` writes what is read anew; look at what changed."""
    result, outcome = recordings.read(case, tmp_path)
    found = recordings.told(result, outcome)
    if os.environ.get("MARIANNE_GOLDEN"):
        recordings.write_expected(case, found)
    assert found == case.expected
    assert result.warnings == ()
    assert "\n" not in outcome.reason


def test_every_file_belongs_to_a_recording() -> None:
    known = {str(case.path("json").with_suffix("")) for case in recordings.cases()}
    found = {str(path.with_suffix("")) for path in RECORDINGS.glob("*/*")}
    assert found == known


_PROVED = {"plain", "write", "limit", "overload", "refused"}


def test_the_proof_has_made_recordings_of_every_program() -> None:
    """What it is about is what the stand-in did: the proof itself compares that."""
    codes = {"limit": "E102", "overload": "E103", "refused": "E901"}
    for agent in AGENTS:
        for kind in _PROVED:
            told = Case(agent.instrument, f"{PROOF}{kind}").expected
            assert told["ended"] == ("failed" if kind in codes else "ok")
            assert told.get("code") == codes.get(kind)
            if kind == "plain":
                assert (told["input_tokens"], told["output_tokens"]) == (READ, WRITTEN)
                assert told["cost_usd"] == pytest.approx(agent.cost)


def test_recordings_name_no_machine_and_nobody() -> None:
    """Neither this machine, nor who made them, nor what opens anything."""
    paths = re.compile(r"(?<![\w.-])/(home|root|Users|var/folders|mnt|opt)/(?!player\b)[\w.-]+")
    for path in sorted(RECORDINGS.glob("*/*")):
        text = path.read_text(encoding="utf-8")
        assert redact(text) == text, path
        assert paths.search(text) is None, (path, paths.search(text))
        assert "pytest-of" not in text, path


@pytest.mark.parametrize(
    ("instrument", "case", "seconds", "by_clock"),
    [
        ("claude-code", "limit", 30, False),
        (OLDER, "limit", 30, False),
        # The event has the exact time, the words only the minute.
        ("claude-code", "oauth-limit", 1767225600 - RECORDED, True),
        ("aider", "limit", 3, False),
        ("cline-cli", "limit", 3, False),
        ("gemini-cli", "limit", 30, False),
        ("opencode", "limit-logs", 30, False),
    ],
)
def test_the_end_of_a_limit(
    instrument: str, case: str, seconds: float, by_clock: bool, tmp_path: Path
) -> None:
    result, _ = read(instrument, case, tmp_path)
    assert result.reset == Reset(RECORDED + seconds, by_clock)


def test_only_the_window_that_is_used_up_tells_when_a_limit_ends(tmp_path: Path) -> None:
    """Later versions of Claude Code name the ends of all windows; the week's is days away."""
    profile = PROFILES.get("claude-code")
    assert profile is not None
    assert profile.cli is not None
    recorded = (RECORDINGS / "claude-code" / "oauth-limit.out").read_text()
    more = (
        '"isUsingOverage":false,"overageResetsAt":1767830400,"unifiedWindows":{"five_hour":'
        '{"utilization":1,"resetsAt":1767225600},"seven_day":{"resetsAt":1767571200}}'
    )
    assert '"isUsingOverage":false' in recorded
    out, err = tmp_path / "1.1.out", tmp_path / "1.1.err"
    out.write_text(recorded.replace('"isUsingOverage":false', more))
    err.touch()
    for path in (out, err):
        os.utime(path, (RECORDED, RECORDED))
    result = ResultReader(profile.cli).read_now(1, out, err)
    assert result.reset == Reset(1767225600, by_clock=True)


def test_a_busy_server_is_no_limit_whatever_its_status(tmp_path: Path) -> None:
    """Claude Code says so, with the status 429: its instrument must not be parked for an hour."""
    profile = PROFILES.get("claude-code")
    assert profile is not None
    assert profile.cli is not None
    recorded = (RECORDINGS / "claude-code" / "limit.out").read_text()
    assert '"api_error_status":429' in recorded
    said = (
        "API Error: Server is temporarily limiting requests (not your usage limit) · Rate limited"
    )
    out, err = tmp_path / "1.1.out", tmp_path / "1.1.err"
    out.write_text(re.sub(r"[^\"]*Request rejected \(429\)[^\"]*", said, recorded))
    err.touch()
    result = ResultReader(profile.cli).read_now(1, out, err)
    assert (result.error_type, result.matched) == (ErrorType.CAPACITY, said)


@pytest.mark.parametrize("case", ["limit", "quota"])
def test_codex_does_not_tell_when_a_limit_ends(case: str, tmp_path: Path) -> None:
    result, _ = read("codex-cli", case, tmp_path)
    assert (result.error_type, result.reset) == (ErrorType.RATE_LIMIT, None)


@pytest.mark.parametrize("case", ["limit", "auth401", "overload503"])
def test_gemini_s_exit_statuses_are_no_signals(case: str, tmp_path: Path) -> None:
    _, outcome = read("gemini-cli", case, tmp_path)
    assert outcome.exit_code is not None
    assert outcome.exit_code > 128
    assert outcome.signal is None


def test_an_error_that_codex_got_over_is_not_why_it_ended(tmp_path: Path) -> None:
    profile = PROFILES.get("codex-cli")
    assert profile is not None
    assert profile.cli is not None
    lines = (RECORDINGS / "codex-cli/refused.out").read_text().splitlines()
    out = tmp_path / "out"
    reader = ResultReader(profile.cli)
    for more, error_type in (([], ErrorType.CONNECTION), (['{"type":"item.started"}'], None)):
        out.write_text("\n".join([*lines, *more, ""]))
        assert reader.read_now(143, out, tmp_path / "err").error_type is error_type


SAYS = "I will handle the rate limit (429), Invalid API key, overloaded, ECONNREFUSED, quota"


@pytest.mark.parametrize(
    ("instrument", "line"),
    [
        ("claude-code", f'{{"type":"assistant","message":{{"content":[{{"text":"{SAYS}"}}]}}}}'),
        (
            "codex-cli",
            f'{{"type":"item.completed","item":{{"type":"agent_message","text":"{SAYS}"}}}}',
        ),
        ("opencode", f'{{"type":"text","part":{{"text":"{SAYS}"}}}}'),
        ("gemini-cli", f'{{"type":"message","role":"assistant","content":"{SAYS}"}}'),
        ("cline-cli", f'{{"type":"agent_event","event":{{"text":"{SAYS}"}}}}'),
        ("aider", SAYS),
    ],
)
def test_what_an_agent_talks_about_is_no_failure_of_that_kind(
    instrument: str, line: str, tmp_path: Path
) -> None:
    profile = PROFILES.get(instrument)
    assert profile is not None
    assert profile.cli is not None
    out = tmp_path / "out"
    out.write_text(f"{line}\n")
    result = ResultReader(profile.cli).read_now(1, out, tmp_path / "absent")
    assert not result.success
    assert result.error_type is None, result.matched
