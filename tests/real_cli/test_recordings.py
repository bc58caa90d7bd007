"""What differs from run to run is the same in recordings; needs no program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marianne_core.run.attempt_files import AttemptFiles
from tests.real_cli import recordings
from tests.real_cli.recordings import Case, normal, record

PLACES = {"/tmp/x/home": "/home/player", "/tmp/x": "/stage", "secret": "[KEY]"}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('{"cwd":"/tmp/x/home/a","title":"tmp/x/b"}', '{"cwd":"/home/player/a","title":"/stage/b"}'),
        ("/bunfs/tmp/x is another place", "/bunfs/tmp/x is another place"),
        ('"id":"msg_a1b2c3d4e5","id":"msg_f1b2c3d4e5"', '"id":"msg_0","id":"msg_1"'),
        ('"a":"ses_1zzzzzz9","b":"msg_1zzzzzz9","c":"ses_1zzzzzz9"', '"a":"ses_0","b":"msg_0","c":"ses_0"'),
        ("2031-05-06T07:08:09.123Z", "2026-01-01T00:00:00.000Z"),
        ("2031-05-06 07:08:09", "2026-01-01 00:00:00"),
        ('{"timestamp":1795896134366}', '{"timestamp":1767225600000}'),
        ('{"duration_ms":17,"durationMs":3.5,"input_tokens":17}', '{"duration_ms":42,"durationMs":42,"input_tokens":17}'),
        ("report-2031-05-06T07-08-09-123Z.json", "report-2026-01-01T00-00-00-000Z.json"),
        ("Tue, 06 May 2031 07:08:09 GMT", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("run=1a2b3c4d pid=77 Python/3.13.1", "run=0 pid=1 Python/3"),
        ("http://127.0.0.1:45678/v1", "http://127.0.0.1:8080/v1"),
        ("7c9e6679-7425-40de-944b-e07fc1f90ae7", "00000000-0000-4000-8000-000000000000"),
        ("the secret", "the [KEY]"),
        ("[STARTUP] Phase\nonce\n", "once\n"),
        ("again\n" * 9 + "once\n", "again\n" * 3 + "once\n"),
    ],
)  # fmt: skip
def test_what_differs_is_the_same(said: str, kept: str) -> None:
    assert normal(said, PLACES) == kept
    assert normal(kept, PLACES) == kept


def test_a_recording_is_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "RECORDINGS", tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "run").mkdir()
    case, files = Case("codex-cli", "proof-x"), AttemptFiles(tmp_path / "run", 1, 1)
    written = []
    for number in (1, 2):
        place = f"/places/{number}"
        events = [
            {"type": "thread.started", "thread_id": f"7c9e6679-7425-40de-944b-00000000000{number}"},
            {"type": "item.completed", "item": {"type": "agent_message", "text": f"in {place}"}},
            {"type": "turn.completed", "usage": {"input_tokens": 7, "output_tokens": 2}},
        ]
        files.stdout.write_text("".join(json.dumps(event) + "\n" for event in events))
        files.stderr.write_text("")
        found = record(case, files, 0, places={place: "/song"}, folder=tmp_path / "read")
        assert found == case.expected
        assert (found["ended"], found["text"], found["input_tokens"]) == ("ok", "in /song", 7)
        written.append({path.name: path.read_bytes() for path in (tmp_path / "kept").rglob("*.*")})
    assert written[0] == written[1]
    assert set(written[0]) == {"proof-x.out", "proof-x.status", "proof-x.json"}
