"""What the built-in profiles make of the output that the programs really print."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from marianne_core.config.profiles import load_profiles
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.run.attempt_files import AttemptFiles, read_end
from marianne_core.run.instrument.failures import outcome_of
from marianne_core.run.instrument.reset_time import Reset
from marianne_core.run.instrument.result import ErrorType, InstrumentResult, ResultReader

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"
PROFILES = load_profiles()
OLDER = "claude-code-2.1.197"
RECORDED = 1767200000.0
"""When the programs are pretended to have printed that: 2025-12-31, 16:53:20 UTC."""


def read(instrument: str, case: str, folder: Path) -> tuple[InstrumentResult, Outcome]:
    """The result and the outcome of a recorded turn, by the built-in profile."""
    profile = PROFILES.get(instrument.removesuffix("-2.1.197"))
    assert profile is not None
    assert profile.cli is not None
    files = AttemptFiles(folder, 1, 1)
    recorded = RECORDINGS / instrument
    for ending, path in (("out", files.stdout), ("err", files.stderr)):
        source = recorded / f"{case}.{ending}"
        if source.exists():
            shutil.copy(source, path)
        else:
            path.touch()
        os.utime(path, (RECORDED, RECORDED))
    status = (recorded / f"{case}.status").read_text().strip()
    files.status.write_text(f"77\n={status}\n")
    end = read_end(files, "recorded", None)
    assert end.exit_status == int(status)
    result = ResultReader(profile.cli).read_now(end.exit_status, files.stdout, files.stderr)
    return result, outcome_of(end, result)


class Turn(NamedTuple):
    """A turn that succeeded."""

    instrument: str
    case: str
    text: str | None
    """None: the whole output is the answer."""
    read: int
    written: int
    cost: float | None


TURNS = [
    # 1,000 tokens read from a cache and 200 written to it beside 123 others.
    Turn("claude-code", "plain", "plain stream done.", 1323, 45, 0.001296),
    Turn("claude-code", "write", "The stub model says: done.", 246, 90, 0.001392),
    Turn("claude-code", "no-skip-permission", "The stub model says: done.", 246, 90, 0.001392),
    Turn(OLDER, "plain", "v197 plain stream done.", 1323, 45, 0.002094),
    Turn(OLDER, "write", "The stub model says: done.", 246, 90, 0.002088),
    # Of the 123 tokens 100 came from a cache, of the 45 were 20 reasoning.
    Turn("codex-cli", "plain", "plain json done.", 123, 45, None),
    Turn("codex-cli", "write", "The stub model says: done.", 246, 90, None),
    Turn("codex-cli", "retry-limit", "rl", 123, 45, None),
    Turn("opencode", "plain", "plain json done.", 123, 45, 0.000774),
    Turn("opencode", "write", "The stub model says: done.", 246, 90, 0.002088),
    Turn("opencode", "limit-then-ok", "lto", 123, 45, 0.001044),
    Turn("gemini-cli", "plain", "plain stream done.", 123, 45, None),
    Turn("gemini-cli", "write", "The stub model says: done.", 246, 90, None),
    Turn("aider", "message-file", None, 123, 45, 0.00076),
    Turn("aider", "write", None, 123, 45, 0.00076),
    Turn("aider", "plain-stdin", None, 246, 90, 0.0015),
    Turn("cline-cli", "plain-arg", "plain arg done.", 123, 45, 0),
    Turn("cline-cli", "backend-local", "The stub model says: done.", 246, 90, 0),
]


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: f"{turn.instrument}-{turn.case}")
def test_a_turn_that_succeeds(turn: Turn, tmp_path: Path) -> None:
    result, outcome = read(turn.instrument, turn.case, tmp_path)
    assert outcome.ended is Ended.OK, outcome.reason
    assert result.text == turn.text
    assert (outcome.input_tokens, outcome.output_tokens) == (turn.read, turn.written)
    assert outcome.cost_usd == (turn.cost if turn.cost is None else pytest.approx(turn.cost))
    assert result.warnings == ()


LIMIT, AUTH, BUSY, REFUSED, LATE = "E102", "E502", "E103", "E901", "E504"
OTHER, KILLED = "E009", "E002"

FAILURES = [
    ("claude-code", "limit", LIMIT, "Request rejected (429) · This request would exceed your rate"),
    ("claude-code", "oauth-limit", LIMIT, "You've hit your limit · resets 6:02am (UTC)"),
    ("claude-code", "overload", BUSY, "API Error: 529 Overloaded."),
    ("claude-code", "overload503", BUSY, "API Error: 503 "),
    ("claude-code", "auth401", AUTH, "Invalid API key"),
    ("claude-code", "nokey", AUTH, "Not logged in · Please run /login"),
    ("claude-code", "refused", REFUSED, "ECONNREFUSED"),
    ("claude-code", "max-budget", OTHER, "Reached maximum budget ($0.0001)"),
    ("claude-code", "credit-400", OTHER, "Credit balance is too low"),
    ("claude-code", "model-404", OTHER, "issue with the selected model (nosuch)"),
    ("claude-code", "root-refused", OTHER, "cannot be used with root/sudo privileges"),
    ("claude-code", "cancel-term", KILLED, "SIGTERM"),
    (OLDER, "limit", LIMIT, "Request rejected (429)"),
    (OLDER, "overload", BUSY, "529 Overloaded"),
    (OLDER, "auth401", AUTH, "Invalid API key"),
    (OLDER, "refused", REFUSED, "Unable to connect to API (ConnectionRefused)"),
    ("codex-cli", "limit", LIMIT, "exceeded retry limit, last status: 429 Too Many Requests"),
    ("codex-cli", "usage-limit", LIMIT, "or try again at 6:02 AM."),
    ("codex-cli", "quota", LIMIT, "Quota exceeded."),
    ("codex-cli", "overload", BUSY, "unexpected status 529"),
    ("codex-cli", "overload503", BUSY, "unexpected status 503 Service Unavailable"),
    ("codex-cli", "refused", REFUSED, "waiting for network"),
    ("codex-cli", "auth401", AUTH, "unexpected status 401 Unauthorized"),
    ("codex-cli", "nokey", AUTH, "Missing environment variable: `STUB_KEY`"),
    ("codex-cli", "no-git", OTHER, "Not inside a trusted directory"),
    ("codex-cli", "full-auto", OTHER, "exit status 2"),
    ("codex-cli", "cancel-term", KILLED, "SIGTERM"),
    ("opencode", "auth401", AUTH, "Incorrect API key provided: x."),
    ("opencode", "bad-model", OTHER, "Unexpected server error."),
    (
        "opencode",
        "limit-logs",
        LIMIT,
        "AI_APICallError: This request would exceed your rate limit.",
    ),
    ("opencode", "overload-logs", BUSY, "AI_APICallError: Overloaded"),
    ("opencode", "refused-logs", REFUSED, "AI_APICallError: Cannot connect to API"),
    ("opencode", "cancel-term", KILLED, "SIGTERM"),
    (
        "gemini-cli",
        "limit",
        LIMIT,
        "This request would exceed your rate limit. Please retry in 30s.",
    ),
    ("gemini-cli", "overload503", BUSY, "The model is overloaded."),
    ("gemini-cli", "auth401", AUTH, "API key not valid."),
    ("gemini-cli", "nokey", AUTH, "Please set an Auth method"),
    ("gemini-cli", "refused", REFUSED, "fetch failed"),
    ("gemini-cli", "no-trust", OTHER, "not running in a trusted directory"),
    ("gemini-cli", "cancel-term", OTHER, "exit status 0, but its output reports no success"),
    ("aider", "limit", LIMIT, "litellm.RateLimitError"),
    ("aider", "overload503", BUSY, "litellm.ServiceUnavailableError"),
    ("aider", "refused", REFUSED, "litellm.InternalServerError"),
    ("aider", "auth401", AUTH, "litellm.AuthenticationError"),
    ("aider", "nokey", AUTH, "litellm.AuthenticationError"),
    ("cline-cli", "limit", LIMIT, "Please retry in 3s."),
    ("cline-cli", "auth401", AUTH, "Incorrect API key provided: x."),
    ("cline-cli", "timeout", LATE, "run timed out after 3s"),
    ("cline-cli", "cancel-term", OTHER, "exit status 0, but its output reports no success"),
    ("cline-cli", "overload503", OTHER, "exit status 0, but its output reports no success"),
]


@pytest.mark.parametrize(
    ("instrument", "case", "code", "words"), FAILURES, ids=[f"{f[0]}-{f[1]}" for f in FAILURES]
)
def test_a_turn_that_fails(
    instrument: str, case: str, code: str, words: str, tmp_path: Path
) -> None:
    _, outcome = read(instrument, case, tmp_path)
    assert outcome.ended is Ended.FAILED
    assert outcome.code == code, outcome.reason
    assert words in outcome.reason
    assert "\n" not in outcome.reason


def test_every_recording_is_looked_at() -> None:
    recorded = {(path.parent.name, path.stem) for path in RECORDINGS.glob("*/*.status")}
    looked_at = {turn[:2] for turn in TURNS} | {failure[:2] for failure in FAILURES}
    assert recorded == looked_at


def test_what_was_spent_before_a_failure_counts(tmp_path: Path) -> None:
    _, outcome = read("claude-code", "max-budget", tmp_path)
    assert (outcome.input_tokens, outcome.output_tokens) == (123, 45)
    assert outcome.cost_usd == pytest.approx(0.000696)


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
