from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from marianne_core.model.states import SheetStatus
from marianne_core.plan import cross_sheet as cross_sheet_module
from marianne_core.plan import prompt as prompt_module
from marianne_core.plan.cross_sheet import CrossSheet, collect
from marianne_core.plan.injection import Injected, inject
from marianne_core.plan.lazy import Numbers
from marianne_core.plan.prompt import build_prompt
from marianne_core.plan.sheets import Plan

SHEETS = 5000


class Run:
    """A run of which every sheet is over; it counts what it is asked for."""

    def __init__(self, plan: Plan, folder: Path, skipped: frozenset[int] = frozenset()) -> None:
        self.plan = plan
        self.folder = folder
        self.skipped = skipped
        self.asked: Counter[str] = Counter()

    def status(self, num: int) -> SheetStatus:
        self.asked["status"] += 1
        return SheetStatus.SKIPPED if num in self.skipped else SheetStatus.COMPLETED

    def stdout(self, num: int) -> Path:
        self.asked["stdout"] += 1
        path = self.folder / f"{num}.out"
        path.write_text(f"said {num}", encoding="utf-8")
        return path

    def context(self, num: int) -> CrossSheet:
        return collect(self.plan, num, self.stdout, self.status)

    def prompt(self, num: int = SHEETS) -> str:
        return build_prompt(self.plan, num, previous=self.context(num)).text


@pytest.fixture
def run_of(plan_of: Callable[..., Plan], tmp_path: Path) -> Callable[..., Run]:
    def make(template: str, *, lookback: int = 0, skipped: frozenset[int] = frozenset()) -> Run:
        text = (
            f"sheet: {{size: 1, total_items: {SHEETS}}}\n"
            f"prompt: {{template: {json.dumps(template)}}}\n"
            "instrument: cli\n"
            f"cross_sheet: {{auto_capture_stdout: true, lookback_sheets: {lookback}}}\n"
        )
        return Run(plan_of(text), tmp_path, skipped)

    return make


def test_what_the_template_does_not_mention_is_not_looked_at(run_of: Callable[..., Run]) -> None:
    run = run_of("nothing")
    assert run.prompt() == "nothing"
    assert not run.asked


@pytest.mark.parametrize(
    "template",
    [
        "{{ previous_outputs[7] }}",
        "{{ previous_outputs.get(7) }}",
        "{% if previous_outputs[7] is defined %}{{ previous_outputs[7] }}{% endif %}",
        "{{ previous_outputs[7] if 7 in previous_outputs else '' }}",
    ],
)
def test_one_output_of_many_costs_one_look(run_of: Callable[..., Run], template: str) -> None:
    run = run_of(template)
    assert run.prompt() == "said 7"
    assert run.asked == {"status": 1, "stdout": 1}


def test_whether_there_are_outputs_costs_one_look(run_of: Callable[..., Run]) -> None:
    run = run_of("{% if previous_outputs %}yes{% endif %}")
    assert run.prompt() == "yes"
    assert run.asked == {"status": 1, "stdout": 1}


def test_a_loop_that_ends_early_looks_no_further(run_of: Callable[..., Run]) -> None:
    run = run_of("{{ (previous_outputs.values() | first) }}{{ previous_outputs | first }}")
    assert run.prompt() == "said 11"
    assert run.asked == {"status": 1, "stdout": 1}


def test_a_window_is_not_left(run_of: Callable[..., Run]) -> None:
    run = run_of("{% for n in previous_outputs %}{{ n }} {% endfor %}", lookback=3)
    assert run.prompt(100) == "97 98 99 "
    assert run.asked == {"status": 3, "stdout": 3}
    for absent in (96, 100, "97"):
        assert absent not in run.context(100).previous_outputs


def test_a_status_that_changes_meanwhile_does_not_tear_the_prompt(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = plan_of("cross_sheet: {auto_capture_stdout: true}")
    states = iter([SheetStatus.COMPLETED, SheetStatus.PENDING, SheetStatus.PENDING])
    (tmp_path / "1.out").write_text("said", encoding="utf-8")
    cross = collect(plan, 2, lambda n: tmp_path / f"{n}.out", lambda n: next(states))
    assert 1 in cross.previous_outputs
    assert dict(cross.previous_outputs) == {1: "said"}


def test_skipped_sheets_are_a_list_to_a_template(run_of: Callable[..., Run]) -> None:
    run = run_of(
        "{{ skipped_upstream }}{{ skipped_upstream | length }}{{ 4 in skipped_upstream }}"
        "{{ skipped_upstream[0] }}{{ skipped_upstream[1:] }}{{ skipped_upstream | tojson }}"
        "{{ skipped_upstream + [9] }}{{ [9] + skipped_upstream }}{{ skipped_upstream == [2, 4] }}"
        "{{ skipped_upstream | join('/') }}{% if skipped_upstream %}!{% endif %}",
        skipped=frozenset({2, 4}),
    )
    assert run.prompt(6) == "[2, 4]2True2[4][2, 4][2, 4, 9][9, 2, 4]True2/4!"
    assert run.asked == {"status": 5}


def test_no_sheet_skipped_is_an_empty_list() -> None:
    assert not Numbers(list)
    assert str(Numbers(list)) == "[]"


def test_outputs_as_json(run_of: Callable[..., Run]) -> None:
    run = run_of("{{ previous_outputs | tojson }}", lookback=2, skipped=frozenset({3}))
    assert json.loads(run.prompt(5)) == {"3": "[SKIPPED]", "4": "said 4"}


# --- files --------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose beginning was read, in order."""
    seen: list[str] = []
    plain = cross_sheet_module.read_head

    def read_head(path: Path, limit: int, *, errors: str = "replace") -> str:
        seen.append(path.name)
        return plain(path, limit, errors=errors)

    monkeypatch.setattr(cross_sheet_module, "read_head", read_head)
    return seen


def files_plan(plan_of: Callable[..., Plan], template: str) -> Plan:
    plan = plan_of(
        f"prompt: {{template: {json.dumps(template)}}}\n"
        "instrument: cli\n"
        'cross_sheet: {capture_files: ["*.md"]}\n'
    )
    plan.workspace.mkdir()
    for name in ("a.md", "b.md", "c.md"):
        (plan.workspace / name).write_text(f"text of {name}", encoding="utf-8")
    (plan.workspace / "bad.md").write_bytes(b"\xff")
    return plan


def files_prompt(plan: Plan) -> str:
    cross = collect(plan, 2, lambda n: None, lambda n: SheetStatus.PENDING)
    return build_prompt(plan, 2, previous=cross).text


def test_one_captured_file_is_read_alone(plan_of: Callable[..., Plan], reads: list[str]) -> None:
    plan = files_plan(plan_of, "{{ previous_files[workspace ~ '/b.md'] }}")
    assert files_prompt(plan) == "text of b.md"
    assert reads == ["b.md"]


def test_files_are_not_looked_for_unless_mentioned(
    plan_of: Callable[..., Plan], reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[object] = []
    monkeypatch.setattr(cross_sheet_module, "_captured", lambda *a: searched.append(a))
    assert files_prompt(files_plan(plan_of, "none")) == "none"
    assert (reads, searched) == ([], [])


def test_every_file_is_read_once(plan_of: Callable[..., Plan], reads: list[str]) -> None:
    plan = files_plan(
        plan_of,
        "{{ previous_files | length }}{% for p, t in previous_files.items() %} {{ t }}{% endfor %}",
    )
    assert files_prompt(plan) == "3 text of a.md text of b.md text of c.md"
    assert sorted(reads) == ["a.md", "b.md", "bad.md", "c.md"]


# --- injection ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "template", "reads"),
    [
        ("cli", "plain", 0),
        ("cli", "{{ injected_context[0] }}", 1),
        ("agent", "plain", 1),
    ],
)
def test_injected_files_are_read_once_where_the_prompt_shows_them(
    plan_of: Callable[..., Plan],
    monkeypatch: pytest.MonkeyPatch,
    instrument: str,
    template: str,
    reads: int,
) -> None:
    plan = plan_of(
        f"prompt: {{template: {json.dumps(template)}}}\n"
        f"instrument: {instrument}\n"
        "sheet: {size: 1, total_items: 2, prelude: [{file: note.md, as: context}]}\n"
    )
    plan.workspace.mkdir()
    (plan.workspace / "note.md").write_text("NOTE", encoding="utf-8")
    calls: list[int] = []

    def counted(plan: Plan, num: int, variables: dict[str, object]) -> Injected:
        calls.append(num)
        return inject(plan, num, variables)

    monkeypatch.setattr(prompt_module, "inject", counted)
    text = build_prompt(plan, 1).text
    assert len(calls) == reads
    assert ("NOTE" in text) == bool(reads)
