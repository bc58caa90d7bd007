from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from marianne_core.model.states import SheetStatus
from marianne_core.plan.cross_sheet import SKIPPED, CrossSheet, collect, read_head
from marianne_core.plan.prompt import build_prompt
from marianne_core.plan.sheets import Plan
from marianne_core.read.redact import MARK

KEY = "sk-ant-api03-" + "a1" * 20
SCORE = """
sheet: {size: 1, total_items: 6, dependencies: {6: [1]}}
cross_sheet: {auto_capture_stdout: true, max_output_chars: 10, lookback_sheets: LOOKBACK}
"""


def gather(plan: Plan, num: int, folder: Path, states: dict[int, str]) -> CrossSheet:
    for n in range(1, plan.total_sheets + 1):
        (folder / f"{n}.out").write_text(f"output of sheet {n}", encoding="utf-8")

    def status(n: int) -> SheetStatus:
        return SheetStatus(states.get(n, "completed"))

    return collect(plan, num, lambda n: folder / f"{n}.out", status)


def test_outputs_of_the_sheets_before(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    plan = plan_of(SCORE.replace("LOOKBACK", "3"))
    states = {1: "skipped", 3: "failed", 4: "skipped", 5: "completed"}
    cross = gather(plan, 6, tmp_path, states)
    assert list(cross.previous_outputs) == [4, 5]
    assert cross.previous_outputs[4] == SKIPPED
    assert cross.previous_outputs[5].startswith("output of \n[... cut after 10 characters")
    # Sheet 1 is out of sight, but sheet 6 waits for it.
    assert cross.skipped_upstream == [1, 4]
    with pytest.raises(KeyError):
        cross.previous_outputs[3]


def test_lookback_zero_means_all(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    cross = gather(plan_of(SCORE.replace("LOOKBACK", "0")), 6, tmp_path, {})
    assert list(cross.previous_outputs) == [1, 2, 3, 4, 5]


def test_nothing_is_collected_unless_the_score_asks(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    assert not gather(plan_of(""), 3, tmp_path, {}).previous_outputs
    plan = plan_of("cross_sheet: {lookback_sheets: 2}")
    assert not gather(plan, 3, tmp_path, {2: "completed"}).previous_outputs


def test_outputs_are_read_only_when_a_template_asks(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = plan_of(SCORE.replace("LOOKBACK", "3"))
    cross = collect(plan, 3, lambda n: tmp_path / "gone", lambda n: SheetStatus.COMPLETED)
    build_prompt(plan, 3, previous=cross)
    assert cross.warnings == []
    assert "not stored any more" in cross.previous_outputs[2]
    assert len(cross.warnings) == 1


@pytest.mark.parametrize(
    ("data", "limit", "expected"),
    [
        (b"short", 10, "short"),
        (b"exactly 10", 10, "exactly 10"),
        ("é" * 12, 10, "é" * 10),
        (b"a\xffb", 10, "a\ufffdb"),
        (b"", 5, ""),
    ],
)
def test_heads_of_files(tmp_path: Path, data: bytes | str, limit: int, expected: str) -> None:
    path = tmp_path / "out"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    head, _, mark = read_head(path, limit).partition("\n[... cut")
    assert head == expected
    assert bool(mark) == (len(data) > limit)


def test_only_the_head_of_a_huge_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as file:
        file.write(b"head ")
        file.truncate(20 * 1024**3)
    assert read_head(path, 5).startswith("head \n[... cut after 5 characters; the whole has 2147")


FILES = """
sheet: {size: 1, total_items: 3}
prompt: {template: "{% for p, t in previous_files.items() %}{{ p }}={{ t }};{% endfor %}"}
instrument: cli
cross_sheet:
  max_output_chars: 40
  capture_files:
  - "{{ workspace }}/*.md"
  - "part-{{ sheet_num - 1 }}.txt"
  - "*.md"
  - "{{ nonsense }}"
"""


def test_files_of_the_workspace(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    plan = plan_of(FILES, workspace=tmp_path / "w[s]*")
    ws = plan.workspace
    ws.mkdir()
    (ws / "b.md").write_text("two", encoding="utf-8")
    (ws / "a.md").write_text(f"key {KEY} end", encoding="utf-8")
    (ws / "bin.md").write_bytes(b"\xff\xfe\x00")
    (ws / "dir.md").mkdir()
    (ws / "part-1.txt").write_text("wrong part", encoding="utf-8")
    (ws / "part-2.txt").write_text("p" * 50, encoding="utf-8")
    cross = collect(plan, 3, lambda n: None, lambda n: SheetStatus.COMPLETED)
    prompt = build_prompt(plan, 3, previous=cross)
    files = dict(cross.previous_files)
    assert [Path(path).name for path in files] == ["a.md", "b.md", "part-2.txt"]
    assert files[f"{ws}/a.md"] == f"key {MARK} end"
    assert files[f"{ws}/part-2.txt"].startswith("p" * 40 + "\n[... cut")
    assert f"{ws}/b.md=two;" in prompt.text
    assert any("nonsense" in warning for warning in cross.warnings)


def test_a_credential_across_the_cut_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("x" * 89 + " " + KEY + "y" * 9000, encoding="utf-8")
    assert "sk-ant" not in read_head(path, 100)
