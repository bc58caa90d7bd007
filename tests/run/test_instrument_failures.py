from __future__ import annotations

import signal

import pytest

from marianne_core.model.outcome import Ended
from marianne_core.run.attempt_files import AttemptEnd
from marianne_core.run.instrument.codes import CODES
from marianne_core.run.instrument.command_line import InstrumentError
from marianne_core.run.instrument.failures import outcome_of, refused
from marianne_core.run.instrument.result import ErrorType, InstrumentResult
from marianne_core.run.launcher import LaunchError


def _failed(**fields: object) -> InstrumentResult:
    return InstrumentResult(success=False, **fields)  # type: ignore[arg-type]


def test_success_carries_the_tokens() -> None:
    outcome = outcome_of(AttemptEnd(0), InstrumentResult(True, input_tokens=1, output_tokens=2))
    assert outcome.ended is Ended.OK
    assert (outcome.code, outcome.reason) == (None, "")
    assert (outcome.exit_code, outcome.input_tokens, outcome.output_tokens) == (0, 1, 2)


def test_a_plain_failure_may_be_tried_again_as_the_score_says() -> None:
    outcome = outcome_of(AttemptEnd(3), _failed(last_line="no such table", last_line_of="stderr"))
    assert outcome.ended is Ended.FAILED
    assert outcome.code == "E009"
    assert outcome.reason == "exit status 3; last line of stderr: no such table"
    assert outcome.retriable
    assert outcome.min_delay == 0.0


@pytest.mark.parametrize(
    "words", ["401 bad", "permission denied", "unauthorized", "syntax error", "HTTP 403", "429"]
)
def test_words_in_the_output_alone_decide_nothing(words: str) -> None:
    outcome = outcome_of(AttemptEnd(1), _failed(last_line=words, last_line_of="stderr"))
    assert (outcome.code, outcome.retriable) == ("E009", True)


@pytest.mark.parametrize(
    ("number", "code", "retriable"),
    [
        (signal.SIGKILL, "E002", True),
        (signal.SIGTERM, "E002", True),
        (signal.SIGHUP, "E002", True),
        (signal.SIGPIPE, "E002", True),
        (signal.SIGINT, "E004", False),
        (signal.SIGSEGV, "E003", False),
        (signal.SIGABRT, "E003", False),
        (signal.SIGBUS, "E003", False),
    ],
)
def test_signals(number: signal.Signals, code: str, retriable: bool) -> None:
    outcome = outcome_of(AttemptEnd(128 + number, int(number)), _failed())
    assert (outcome.code, outcome.retriable) == (code, retriable)
    assert outcome.signal == number
    assert number.name in outcome.reason


def test_exit_statuses_of_the_program_s_own_are_no_signals() -> None:
    outcome = outcome_of(AttemptEnd(144, 16), _failed(own_exit_code=True))
    assert (outcome.code, outcome.signal, outcome.exit_code) == ("E009", None, 144)
    assert outcome.reason.startswith("exit status 144")


def test_a_success_that_the_output_does_not_report() -> None:
    outcome = outcome_of(AttemptEnd(0), _failed(silent=True, error="no way", cost_usd=0.5))
    assert (outcome.ended, outcome.code, outcome.retriable) == (Ended.FAILED, "E009", True)
    assert outcome.reason == "exit status 0, but its output reports no success: no way"
    assert outcome.cost_usd == 0.5


def test_a_signal_without_a_name() -> None:
    assert "signal 40" in outcome_of(AttemptEnd(168, 40), _failed()).reason


def test_out_of_memory_is_told_by_the_output() -> None:
    said = _failed(last_line="worker: Out of memory", last_line_of="stderr")
    outcome = outcome_of(AttemptEnd(137, 9), said)
    assert (outcome.code, outcome.retriable) == ("E005", False)


@pytest.mark.parametrize(
    ("status", "code", "retriable"),
    [(127, "E505", False), (126, "E505", False), (124, "E001", True)],
)
def test_statuses_that_shells_give_a_meaning(status: int, code: str, retriable: bool) -> None:
    outcome = outcome_of(AttemptEnd(status), _failed())
    assert outcome.ended is Ended.FAILED
    assert (outcome.code, outcome.retriable) == (code, retriable)
    assert f"exit status {status}" in outcome.reason


@pytest.mark.parametrize(
    ("status", "code", "retriable"),
    [(127, "E505", False), (126, "E505", False), (124, "E603", False), (125, "E403", True)],
)
def test_what_could_not_be_started(status: int, code: str, retriable: bool) -> None:
    outcome = outcome_of(AttemptEnd(status, None, "/x/agent: not found"), _failed())
    assert outcome.ended is Ended.FAILED
    assert (outcome.code, outcome.retriable) == (code, retriable)
    assert outcome.reason == "could not be started: /x/agent: not found"


@pytest.mark.parametrize(
    ("kind", "code", "retriable", "min_delay"),
    [
        (ErrorType.RATE_LIMIT, "E102", True, 900),
        (ErrorType.CAPACITY, "E103", True, 300),
        (ErrorType.AUTH, "E502", False, 0),
        (ErrorType.CRASH, "E003", False, 0),
        (ErrorType.STALE, "E006", True, 0),
        (ErrorType.TIMEOUT, "E504", True, 0),
        (ErrorType.CONNECTION, "E901", True, 30),
    ],
)
def test_patterns_of_the_profile(
    kind: ErrorType, code: str, retriable: bool, min_delay: float
) -> None:
    outcome = outcome_of(AttemptEnd(1), _failed(error_type=kind, matched="the line"))
    assert (outcome.code, outcome.retriable, outcome.min_delay) == (code, retriable, min_delay)
    assert outcome.reason.endswith("(exit status 1): the line")


def test_a_timeout_counts_more_than_what_came_at_the_last_moment() -> None:
    outcome = outcome_of(AttemptEnd(0), InstrumentResult(True), timed_out_after=1.5)
    assert outcome.ended is Ended.TIMEOUT
    assert (outcome.code, outcome.retriable, outcome.min_delay) == ("E001", True, 0.0)
    assert "1.5 s" in outcome.reason


@pytest.mark.parametrize(
    ("kind", "code"),
    [(ErrorType.RATE_LIMIT, "E102"), (ErrorType.CAPACITY, "E103"), (ErrorType.CONNECTION, "E901")],
)
def test_a_program_that_asked_in_vain_until_its_timeout(kind: ErrorType, code: str) -> None:
    result = _failed(error_type=kind, matched="try later")
    outcome = outcome_of(AttemptEnd(143), result, timed_out_after=60.0)
    assert (outcome.ended, outcome.code) == (Ended.TIMEOUT, code)
    assert outcome.reason.endswith("until it timed out after 60 s: try later")


def test_a_timeout_of_a_program_that_was_answered_is_a_timeout_and_costs_what_it_costs() -> None:
    result = _failed(error_type=ErrorType.RATE_LIMIT, input_tokens=9, output_tokens=3, cost_usd=0.5)
    outcome = outcome_of(AttemptEnd(143), result, timed_out_after=60.0)
    assert (outcome.ended, outcome.code) == (Ended.TIMEOUT, "E001")
    assert (outcome.input_tokens, outcome.output_tokens, outcome.cost_usd) == (9, 3, 0.5)


def test_an_end_that_nobody_knows() -> None:
    outcome = outcome_of(AttemptEnd(None), None)
    assert outcome.ended is Ended.LOST
    assert outcome.min_delay == 0.0


def test_the_instruments_own_error_is_told_in_one_line() -> None:
    outcome = outcome_of(AttemptEnd(1), _failed(error="no\n\x1b[2Jway " + "x" * 999))
    assert outcome.reason.startswith("exit status 1: no way x")
    assert len(outcome.reason) < 250
    assert outcome_of(AttemptEnd(1), _failed()).reason == "exit status 1; it wrote nothing"


def test_an_attempt_that_was_not_even_started() -> None:
    instrument = refused(InstrumentError("E602", "too large"))
    assert (instrument.ended, instrument.code, instrument.retriable) == (
        Ended.FAILED,
        "E602",
        False,
    )
    launch = refused(LaunchError("cannot start x: No space", where="/runs"))
    assert (launch.code, launch.retriable) == ("E009", True)
    assert launch.reason == "/runs: cannot start x: No space"


def test_only_limits_and_the_net_set_a_minimum_delay() -> None:
    assert {code for code, known in CODES.items() if known.min_delay} == {
        *("E101", "E102", "E103", "E104", "E901", "E902", "E903", "E904", "E999"),
    }
