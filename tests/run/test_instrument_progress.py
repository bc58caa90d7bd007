"""Events that are read while an agent works: the same as at its end, and what they tell meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.config.instrument import CliErrorConfig, CliOutputConfig
from marianne_core.config.profiles import load_profiles
from marianne_core.run.instrument import progress as module
from marianne_core.run.instrument.extract import Extract, Extractor, Usage
from marianne_core.run.instrument.progress import Progress
from marianne_core.run.instrument.result import ResultReader

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"
PROFILES = load_profiles()
STREAMS = ["claude-code", "codex-cli", "opencode", "gemini-cli", "cline-cli"]


def progress_of(instrument: str) -> Progress:
    profile = PROFILES.get(instrument)
    assert profile is not None
    assert profile.cli is not None
    made = ResultReader(profile.cli).progress()
    assert made is not None
    return made


@pytest.mark.parametrize("instrument", STREAMS)
def test_where_a_file_was_read_to_makes_no_difference(
    instrument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", 50)
    for recording in sorted((RECORDINGS / instrument).glob("*.out")):
        data = recording.read_bytes()
        whole, by_and_by = progress_of(instrument), progress_of(instrument)
        while whole.read_on(recording):
            pass
        path = tmp_path / recording.name
        assert not by_and_by.read_on(path), "nothing is there yet"
        for start in range(0, len(data), 70):
            with path.open("ab") as file:
                file.write(data[start : start + 70])
            while by_and_by.read_on(path):
                pass
        assert by_and_by.finish() == whole.finish()
        assert by_and_by.so_far == whole.so_far
        assert by_and_by.skipped == whole.skipped


@pytest.mark.parametrize(
    ("instrument", "told"),
    [
        ("claude-code", [None, (123, 1), (123, 1), (246, 2), (246, 90)]),
        ("opencode", [None, None, (123, 45), (123, 45), (123, 45), (246, 90)]),
        ("codex-cli", [None, None, None, None, None, None, (246, 90)]),
    ],
)
def test_what_was_used_so_far(
    instrument: str, told: list[tuple[int, int] | None], tmp_path: Path
) -> None:
    """After each line of a turn with one call of a tool."""
    path, progress = tmp_path / "out", progress_of(instrument)
    found = []
    for line in (RECORDINGS / instrument / "write.out").read_bytes().splitlines(keepends=True):
        with path.open("ab") as file:
            file.write(line)
        assert not progress.read_on(path)
        used = progress.so_far
        found.append(None if used is None else (used.input_tokens, used.output_tokens))
    assert found == told
    assert progress.finish().usage == progress.so_far or instrument == "codex-cli"


def test_other_output_has_no_progress() -> None:
    profile = PROFILES.get("cli")
    assert profile is not None
    assert profile.cli is not None
    assert ResultReader(profile.cli).progress() is None


KEYS = st.sampled_from(["type", "a", "b", "result", "usage"])
WORDS = st.sampled_from(["result", "part", "other", 1, None, True])
EVENTS = st.recursive(
    WORDS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner), max_leaves=8
)
PATHS = st.none() | st.sampled_from(["a", "a.b", "b.*", "*.a", "[0]", "usage.a", "result"])
SETTINGS = st.fixed_dictionaries(
    {
        "result_path": PATHS,
        "error_path": PATHS,
        "passing_error_path": PATHS,
        "input_tokens_path": PATHS,
        "completion_event_type": st.none() | st.sampled_from(["result", "part"]),
        "result_in_pieces": st.booleans(),
        "aggregate_tokens": st.booleans(),
    }
)
ERRORS = st.fixed_dictionaries(
    {
        "status_path": PATHS,
        "success_event_type": st.none() | st.sampled_from(["result", "part"]),
        "success_event_filter": st.none() | st.just({"a.b": 1}) | st.just({"b": None}),
        "rate_limit_event_type": st.none() | st.just("other"),
    }
)


@settings(deadline=None, max_examples=300)
@given(st.lists(EVENTS, max_size=8), SETTINGS, ERRORS)
def test_what_is_passed_over_would_have_told_nothing(
    events: list[Any], output: dict[str, Any], errors: dict[str, Any]
) -> None:
    def found(extractor: Extractor) -> Extract:
        reader = extractor.events()
        for event in json.loads(json.dumps(events)):
            reader.take(event)
        return reader.found()

    class Thorough(Extractor):
        def means_nothing(self, event: object) -> bool:
            return False

    settings_ = (CliOutputConfig(format="jsonl", **output), CliErrorConfig(**errors))
    assert found(Extractor(*settings_)) == found(Thorough(*settings_))


def test_a_total_of_a_result_counts_and_not_a_sum(tmp_path: Path) -> None:
    progress = progress_of("claude-code")
    recording = RECORDINGS / "claude-code" / "plain.out"
    assert not progress.read_on(recording)
    assert progress.so_far == Usage(1323, 45, 0.001296)
