from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from marianne_core.model.outcome import FailureCategory
from marianne_core.plan.rules import BoundRule
from marianne_core.run.validate.baseline import Baseline, take_baseline
from marianne_core.run.validate.content import content_contains
from marianne_core.run.validate.files import file_exists, file_modified


def _modified(path: Path) -> BoundRule:
    return BoundRule(0, "file_modified", "", path=path)


def test_a_file_exists_when_it_is_a_regular_file(tmp_path: Path) -> None:
    path = tmp_path / "a b'c.txt"
    path.write_text("")
    verdict = file_exists(path)
    assert verdict.passed
    assert verdict.actual == "a file of 0 bytes"
    link = tmp_path / "link"
    link.symlink_to(path)
    assert file_exists(link).passed


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    missing = file_exists(tmp_path / "x")
    assert missing.category is FailureCategory.MISSING
    assert missing.reason == f"{tmp_path}/x does not exist"
    assert missing.fix == f"Write {tmp_path}/x."
    assert "neither does its folder" in file_exists(tmp_path / "no" / "such" / "x").reason
    (tmp_path / "file").write_text("")
    below = file_exists(tmp_path / "file" / "x" / "y")
    assert below.category is FailureCategory.MISSING
    assert f"{tmp_path}/file, on the way to y, is not a folder" in below.reason
    (tmp_path / "dangling").symlink_to("nowhere")
    assert "is a link to nowhere" in file_exists(tmp_path / "dangling").reason


def _strange_paths(folder: Path) -> dict[str, Path]:
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "sock"))
    (folder / "loop").symlink_to("loop")
    return {
        "a folder": folder / "folder",
        "a pipe": folder / "pipe",
        "a socket": folder / "sock",
        "a device": Path("/dev/zero"),
        "symbolic links": folder / "loop",
        "name too long": folder / ("x" * 300),
        "not a path": Path(f"{folder}/a\0b"),
    }


def test_strange_things_are_told_and_never_waited_for(tmp_path: Path) -> None:
    for words, path in _strange_paths(tmp_path).items():
        for verdict in (
            file_exists(path),
            file_modified(path, Baseline()),
            content_contains(path, "x"),
        ):
            assert not verdict.passed
            assert words in f"{verdict.actual} {verdict.reason}".lower()
            assert verdict.category in (FailureCategory.MISSING, FailureCategory.ERROR)
            assert verdict.fix
            assert "remove" not in verdict.fix.lower()
            assert verdict.expected


def test_a_refused_permission_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text("x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    assert "Permission denied" in content_contains(path, "x").reason
    monkeypatch.setattr(os, "stat", refuse)
    verdict = file_exists(path)
    monkeypatch.undo()
    assert verdict.category is FailureCategory.ERROR
    assert "Permission denied" in verdict.reason


def test_modified_is_measured_against_the_baseline(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    baseline = take_baseline([_modified(path)])
    stale = file_modified(path, baseline)
    assert not stale.passed
    assert stale.category is FailureCategory.STALE
    path.write_text("longer")
    assert file_modified(path, baseline).actual == "changed, 3 to 6 bytes"


def test_a_file_that_was_not_there_counts_when_it_is(tmp_path: Path) -> None:
    path = tmp_path / "f"
    baseline = take_baseline([_modified(path)])
    assert file_modified(path, baseline).category is FailureCategory.MISSING
    path.write_text("x")
    os.utime(path, (0, 0))
    assert file_modified(path, baseline).actual == "new, 1 bytes"


def test_each_part_of_a_stamp_counts(tmp_path: Path) -> None:
    path, other = tmp_path / "f", tmp_path / "g"
    for file in (path, other):
        file.write_text("x")
        os.utime(file, ns=(10**18, 10**18))
    baseline = take_baseline([_modified(path)])
    assert not file_modified(path, baseline).passed
    os.utime(path, ns=(10**18, 10**18 + 1))
    assert file_modified(path, baseline).passed  # a nanosecond, even backwards
    os.utime(path, ns=(10**18, 10**18 - 1))
    assert file_modified(path, baseline).passed
    os.utime(path, ns=(10**18, 10**18))
    assert not file_modified(path, baseline).passed
    other.replace(path)
    assert file_modified(path, baseline).actual == "replaced"


def test_a_baseline_survives_being_stored(tmp_path: Path) -> None:
    there, absent = tmp_path / "there", tmp_path / "absent"
    there.write_text("x")
    taken = take_baseline([_modified(there), _modified(absent)])
    assert taken
    stored = Baseline.from_dict(json.loads(json.dumps(taken.to_dict())))
    assert stored == taken
    assert not file_modified(there, stored).passed


def test_only_rules_about_modification_are_looked_at(tmp_path: Path) -> None:
    rule = BoundRule(0, "file_exists", "", path=tmp_path / "f")
    assert not take_baseline([rule])
    assert take_baseline([]) is take_baseline([rule])


def test_without_a_stored_baseline_the_start_of_the_attempt_decides(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    os.utime(path, (1000.0, 1000.0))
    assert file_modified(path, Baseline.since(999.0)).passed
    assert file_modified(path, Baseline.since(1000.0)).passed
    assert not file_modified(path, Baseline.since(1001.0)).passed
