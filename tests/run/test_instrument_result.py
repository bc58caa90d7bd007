from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from marianne_core.config.instrument import CliProfile
from marianne_core.model.errors import InputError
from marianne_core.run.instrument import result as result_module
from marianne_core.run.instrument.reset_time import Reset
from marianne_core.run.instrument.result import ErrorType, InstrumentResult, ResultReader


class Output:
    """The output files of one attempt, and a reader for them."""

    def __init__(self, folder: Path) -> None:
        self.stdout = folder / "1.1.out"
        self.stderr = folder / "1.1.err"

    def read(
        self,
        stdout: str | bytes = "",
        stderr: str | bytes = "",
        status: int = 0,
        *,
        output: dict[str, Any] | None = None,
        errors: dict[str, Any] | None = None,
    ) -> InstrumentResult:
        for path, text in ((self.stdout, stdout), (self.stderr, stderr)):
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return reader(output, errors).read_now(status, self.stdout, self.stderr)


def reader(
    output: dict[str, Any] | None = None, errors: dict[str, Any] | None = None
) -> ResultReader:
    profile = {"command": {"executable": "x"}, "output": output or {}, "errors": errors or {}}
    return ResultReader(CliProfile.model_validate(profile))


@pytest.fixture
def files(tmp_path: Path) -> Output:
    return Output(tmp_path)


JSON = {
    "format": "json",
    "result_path": "result",
    "error_path": "error.message",
    "input_tokens_path": "usage.input_tokens",
    "output_tokens_path": "usage.output_tokens",
}
JSONL = {
    "format": "jsonl",
    "completion_event_type": "item.completed",
    "completion_event_filter": {"item.type": "agent_message"},
    "result_path": "item.text",
    "error_path": "error.message",
    "input_tokens_path": "usage.in",
    "output_tokens_path": "usage.out",
}


def test_plain_text_that_succeeded_is_not_read_at_all(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    assert asyncio.run(reader().read(0, absent, absent)) == InstrumentResult(True)


def test_success_is_what_the_profile_says(files: Output) -> None:
    errors = {"success_exit_codes": [0, 3]}
    assert files.read(status=3, errors=errors).success
    assert not files.read(status=1, errors=errors).success
    assert not files.read(status=0, errors={"success_exit_codes": [3]}).success


def test_the_last_words_of_a_failure(files: Output) -> None:
    both = files.read("out\n", "\n\x1b[31mfirst\x1b[0m\nlast \x07one\n\n  \n", 1)
    assert (both.last_line, both.last_line_of) == ("last one", "stderr")
    out = files.read("only\nout", " \n", 1)
    assert (out.last_line, out.last_line_of) == ("out", "stdout")
    none = files.read(status=1)
    assert (none.last_line, none.last_line_of) == ("", "")


def test_one_document(files: Output) -> None:
    text = json.dumps({"result": "the answer", "usage": {"input_tokens": 5, "output_tokens": 7.0}})
    found = files.read(text, output=JSON)
    assert (found.text, found.input_tokens, found.output_tokens) == ("the answer", 5, 7)
    assert found.warnings == ()


def test_an_error_in_a_document(files: Output) -> None:
    found = files.read('{"error": {"message": "no\\nway"}}', "noise", 1, output=JSON)
    assert found.error == "no\nway"
    told_as_answer = files.read('{"result": "You hit a wall"}', "", 1, output=JSON)
    assert told_as_answer.error == "You hit a wall"


def test_an_answer_that_is_no_text_becomes_json(files: Output) -> None:
    assert files.read('{"result": {"a": ["ä"]}}', output=JSON).text == '{"a": ["ä"]}'
    assert files.read('{"result": null}', output=JSON).text is None


def test_aggregated_and_first_tokens(files: Output) -> None:
    text = json.dumps({"models": {"a": {"in": 3}, "b": {"in": 4}, "c": {"in": True}}})
    paths = {"format": "json", "input_tokens_path": "models.*.in"}
    assert files.read(text, output=paths).input_tokens == 3
    assert files.read(text, output={**paths, "aggregate_tokens": True}).input_tokens == 7
    assert files.read("{}", output=paths).input_tokens is None


def test_output_that_is_no_json_stays_as_it_is(files: Output) -> None:
    found = files.read("plain words", output=JSON)
    assert found.success
    assert found.text is None
    assert "stdout is not JSON" in found.warnings[0]
    assert files.read("  \n", output=JSON).warnings == ()


def test_a_document_that_is_too_large_stays_as_it_is(
    files: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_module, "JSON_LIMIT", 10)
    found = files.read('{"result": "0123456789"}', output=JSON)
    assert found.text is None
    assert "larger than 10 bytes" in found.warnings[0]


def _events(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_the_last_matching_event_holds_the_answer(files: Output) -> None:
    text = _events(
        {"type": "item.completed", "item": {"type": "agent_message", "text": "I begin"}},
        {"type": "item.completed", "item": {"type": "agent_message", "text": "done"}},
        {"type": "item.completed", "item": {"type": "command", "text": "ls"}},
        {"type": "turn.completed", "usage": {"in": 10, "out": 20}},
        {"type": "turn.completed", "usage": {"in": 1, "out": 2}},
    )
    found = files.read(text, output=JSONL)
    assert (found.text, found.input_tokens, found.output_tokens) == ("done", 10, 20)
    summed = files.read(text, output={**JSONL, "aggregate_tokens": True})
    assert (summed.input_tokens, summed.output_tokens) == (11, 22)


def test_events_among_other_lines(files: Output) -> None:
    text = 'hello\n["list"]\n' + _events({"type": "error", "error": {"message": "broken"}}).rstrip(
        "\n"
    )
    found = files.read(text, "", 2, output=JSONL)
    assert found.error == "broken"
    assert found.warnings == ("1 lines of stdout are not JSON",)


def test_a_rate_limit_told_by_an_event(files: Output) -> None:
    errors = {
        "rate_limit_event_type": "rate_limit",
        "rate_limit_event_filter": {"info.status": "rejected"},
    }
    allowed = {"type": "rate_limit", "info": {"status": "allowed"}}
    rejected = {"type": "rate_limit", "info": {"status": "rejected"}}
    assert files.read(_events(allowed), status=1, output=JSONL, errors=errors).error_type is None
    found = files.read(_events(allowed, rejected), status=1, output=JSONL, errors=errors)
    assert found.error_type is ErrorType.RATE_LIMIT
    assert "rejected" in found.matched


def test_an_event_without_an_end_leaves_it_to_the_words(files: Output) -> None:
    errors = {"rate_limit_event_type": "limit", "rate_limit_reset_path": "info.resetsAt"}
    said = {"type": "limit", "info": {"resetsAt": "2030-01-01T00:00:00Z", "other": 1}}
    silent = {"type": "limit", "info": {"otherResetsAt": 1}}
    for event, words in ((said, "x"), (silent, "resets at 2030-01-01T00:00:00Z")):
        files.read(_events(event), words)
        for path in (files.stdout, files.stderr):
            os.utime(path, (1893455990, 1893455990))
        found = reader(JSONL, errors).read_now(1, files.stdout, files.stderr)
        assert found.reset == Reset(1893456000, by_clock=True)


PATTERNS = {
    "rate_limit_patterns": ["rate.?limit"],
    "auth_error_patterns": ["unauthorized"],
    "crash_patterns": ["panic"],
    "stale_patterns": ["stuck"],
    "timeout_patterns": ["timed? ?out"],
    "capacity_patterns": ["overloaded"],
}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Rate limit, unauthorized", ErrorType.RATE_LIMIT),
        ("overloaded, timed out, stuck, panic, UNAUTHORIZED", ErrorType.AUTH),
        ("overloaded, timed out, stuck, panic", ErrorType.CRASH),
        ("overloaded, timed out, stuck", ErrorType.STALE),
        ("overloaded, timed out", ErrorType.TIMEOUT),
        ("overloaded", ErrorType.CAPACITY),
        ("status 401", None),
    ],
)
def test_kinds_of_failure_in_their_order(files: Output, said: str, kind: ErrorType | None) -> None:
    for stdout, stderr in ((said, ""), ("", f"x\n  {said}\ny")):
        found = files.read(stdout, stderr, 1, errors=PATTERNS)
        assert found.error_type is kind
        assert found.matched == (said if kind else "")


def test_a_success_is_never_searched_for_failures(files: Output) -> None:
    assert files.read("how to handle a rate limit", errors=PATTERNS).error_type is None


def test_only_the_end_of_huge_output_is_searched(files: Output) -> None:
    files.stderr.write_bytes(b"")
    with files.stdout.open("wb") as out:
        out.write(b"rate limit")
        out.truncate(200 * 1024 * 1024)
        out.seek(0, os.SEEK_END)
        out.write("\nüberloaded? overloaded\n".encode())
    started = time.monotonic()
    found = reader(errors=PATTERNS).read_now(1, files.stdout, files.stderr)
    assert found.error_type is ErrorType.CAPACITY
    assert found.last_line == "überloaded? overloaded"
    assert time.monotonic() - started < 5


def test_a_pattern_that_goes_astray_is_passed_over(
    files: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_module, "_PATTERN_SECONDS", 0.05)
    errors = {"rate_limit_patterns": ["(a|aa)+$", "quota"]}
    found = files.read("", "a" * 80 + "! quota", 1, errors=errors)
    assert found.error_type is ErrorType.RATE_LIMIT
    assert "took too long" in found.warnings[0]


def test_large_event_streams_are_read_beside_the_loop(files: Output) -> None:
    event = {"type": "item.completed", "item": {"type": "agent_message", "text": "x" * 1000}}
    files.stdout.write_text(_events(*[event] * 3000))
    files.stderr.write_text("")

    async def read() -> tuple[InstrumentResult, int]:
        turns = 0
        reading = asyncio.ensure_future(reader(JSONL).read(0, files.stdout, files.stderr))
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        return reading.result(), turns

    found, turns = asyncio.run(read())
    assert found.text == "x" * 1000
    assert turns > 10


def test_a_profile_that_cannot_be_used_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="path into JSON"):
        reader({"format": "json", "result_path": "a..b"})


VERDICT = {"success_event_type": "end", "success_event_filter": {"ok": True}}


def test_a_success_may_have_to_be_reported(files: Output) -> None:
    jsonl = {"format": "jsonl"}
    good = _events({"type": "end", "ok": False}, {"type": "end", "ok": True}, {"type": "bye"})
    assert files.read(good, output=jsonl, errors=VERDICT).success
    assert not files.read(good, "", 1, output=jsonl, errors=VERDICT).success
    for bad in ("", "la\n", _events({"type": "end", "ok": False}), _events({"ok": True})):
        found = files.read(bad, output=jsonl, errors=VERDICT)
        assert not found.success
        assert found.silent
    document = files.read('{"ok": true}', output={"format": "json"}, errors={**VERDICT})
    assert not document.success
    by_value = {"success_event_filter": {"ok": True}}
    assert files.read('{"ok": true}', output={"format": "json"}, errors=by_value).success
    assert not files.read('{"ok": 0}', output={"format": "json"}, errors=by_value).success


def test_a_success_that_text_has_to_report(files: Output) -> None:
    errors = {
        "success_pattern": r"^All done(?![\s\S]*^Error)",
        "auth_error_patterns": ["^Error: key"],
    }
    assert files.read("x\nall done\n", errors=errors).success
    failed = files.read("All done\nError: key\n", errors=errors)
    assert (failed.success, failed.silent, failed.error_type) == (False, True, ErrorType.AUTH)
    assert not files.read("well", errors=errors).success


def test_a_silent_failure_is_searched_beside_the_loop(
    files: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.stdout.write_text("{}\n")
    files.stderr.write_text("rate limit")
    asked: list[object] = []

    async def to_thread(work: Any, *args: object) -> object:
        asked.append(work)
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    one = reader({"format": "jsonl"}, {**VERDICT, **PATTERNS})
    found = asyncio.run(one.read(0, files.stdout, files.stderr))
    assert found.error_type is ErrorType.RATE_LIMIT
    assert len(asked) == 1
    files.stdout.write_text(_events({"type": "end", "ok": True}))
    assert asyncio.run(one.read(0, files.stdout, files.stderr)).success
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ([429], ErrorType.RATE_LIMIT),
        ([401], ErrorType.AUTH),
        ([403], ErrorType.AUTH),
        ([503], ErrorType.CAPACITY),
        ([529], ErrorType.CAPACITY),
        ([504], ErrorType.TIMEOUT),
        ([418], None),
        ([429, None], None),
        ([429, "x", 503], ErrorType.CAPACITY),
    ],
)
def test_the_status_of_a_refused_call(
    files: Output, statuses: list[object], kind: ErrorType | None
) -> None:
    events = _events(*({"call": {"status": status}} for status in statuses), {"other": 1})
    found = files.read(
        events, "", 1, output={"format": "jsonl"}, errors={"status_path": "call.status"}
    )
    assert found.error_type is kind


def test_an_answer_in_pieces(files: Output) -> None:
    pieces = {
        "format": "jsonl",
        "completion_event_type": "say",
        "result_path": "text",
        "result_in_pieces": True,
    }
    say, work = ({"type": "say", "text": word} for word in ("I ", "work")), {"type": "work"}
    rest = [{"type": "say", "text": "do"}, {"type": "say", "text": "ne"}]
    stream = [*say, work, *rest]
    assert files.read(_events(*stream), output=pieces).text == "done"
    assert files.read(_events(*stream, work, work), output=pieces).text == "done"
    assert files.read(_events(work), output=pieces).text is None


def test_running_totals_and_sums(files: Output) -> None:
    events = _events(
        {"models": {"a": {"in": 1}, "b": {"in": 2}}, "cost": 0.1},
        {"models": {"a": {"in": 5}, "b": {"in": 7}}, "cost": 0.4},
        {"models": {}},
    )
    paths = {"format": "jsonl", "input_tokens_path": "models.*.in", "cost_path": "cost"}

    def used(**more: bool) -> tuple[int | None, float | None]:
        found = files.read(events, output={**paths, **more})
        return found.input_tokens, found.cost_usd

    assert used() == (1, 0.1)
    assert used(aggregate_tokens=True) == (15, 0.5)
    assert used(usage_of_last_event=True) == (5, 0.4)
    assert used(aggregate_tokens=True, usage_of_last_event=True) == (12, 0.4)


def test_tokens_that_are_told_in_parts(files: Output) -> None:
    output = {**JSON, "more_input_tokens_paths": ["usage.cache", "usage.none", "usage.text"]}
    document = json.dumps({"usage": {"input_tokens": 5, "cache": 100, "text": "9"}})
    assert files.read(document, output=output).input_tokens == 105


@pytest.mark.parametrize(
    ("said", "tokens", "cost"),
    [
        ("used 1,234 in $0.5", 1234, 0.5),
        ("used 2.5k in $1,000.25", 2500, 1000.25),
        ("used 1M in $x", 1_000_000, None),
        ("used 1 in $1\nused 2 in $3", 3, 3),
        ("nothing", None, None),
        ("used .,. in $1", None, 1),
    ],
)
def test_what_text_tells_of_tokens_and_cost(
    files: Output, said: str, tokens: int | None, cost: float | None
) -> None:
    pattern = r"used (?P<input>[\d.,]+[km]?) in \$(?P<cost>[\d.,]*)"
    found = files.read(said, output={"usage_pattern": pattern, "aggregate_tokens": True})
    assert found.success
    assert (found.input_tokens, found.output_tokens, found.cost_usd) == (tokens, None, cost)


def test_patterns_that_go_astray_in_text(files: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_module, "_PATTERN_SECONDS", 0.05)
    found = files.read("a" * 80 + "!", errors={"success_pattern": "(a|aa)+$"})
    assert not found.success
    assert "took too long" in found.warnings[0]


def test_only_what_is_no_event_is_searched_where_errors_have_a_path(files: Output) -> None:
    event = json.dumps({"type": "say", "text": "rate limit"})
    cut = 'the end of a long rate limit event"}'
    output = {"format": "jsonl", "error_path": "error"}
    assert files.read(f"{cut}\n{event}\n", "", 1, output=output, errors=PATTERNS).error_type is None
    plain = files.read(f"{event}\nRate limit!\n", "", 1, output=output, errors=PATTERNS)
    assert (plain.error_type, plain.matched) == (ErrorType.RATE_LIMIT, "Rate limit!")
    one_document = {"format": "json", "error_path": "error"}
    assert files.read(event, "", 1, output=one_document, errors=PATTERNS).error_type is None
    broken = files.read("rate limit {", "", 1, output=one_document, errors=PATTERNS)
    assert broken.error_type is ErrorType.RATE_LIMIT


def test_its_own_words_are_shown_where_another_place_gives_the_kind_away(files: Output) -> None:
    output = {"format": "jsonl", "error_path": "error"}
    found = files.read(
        _events({"error": "come back later"}), "  rate limit\n", 1, output=output, errors=PATTERNS
    )
    assert (found.error_type, found.matched) == (ErrorType.RATE_LIMIT, "come back later")


@pytest.mark.parametrize(
    ("status", "size", "output", "errors", "inline"),
    [
        (0, 200_000, {}, {"crash_patterns": ["x"]}, True),  # nothing of it is read
        (0, 100, JSON, {"crash_patterns": ["x"]}, True),
        (0, 200_000, JSON, {}, False),
        (1, 100, {}, {}, True),
        (1, 100, {}, {"crash_patterns": ["x"]}, False),
        (1, 20_000, {}, {}, False),
    ],
)
def test_the_loop_reads_what_is_quickly_read(
    files: Output,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    size: int,
    output: dict[str, Any],
    errors: dict[str, Any],
    inline: bool,
) -> None:
    files.stdout.write_text("7" * size)
    files.stderr.write_text("")
    asked: list[object] = []

    async def to_thread(work: Any, *args: object) -> object:
        asked.append(work)
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    found = asyncio.run(reader(output, errors).read(status, str(files.stdout), str(files.stderr)))
    assert found.success is (status == 0)
    assert bool(asked) is not inline
