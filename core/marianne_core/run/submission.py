"""From a person's request to everything a run needs: read, checked, planned. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.load import Score
from marianne_core.config.profiles import Profiles
from marianne_core.config.read import ScoreError
from marianne_core.config.score.job import JobConfig
from marianne_core.decide.graph import SheetGraph
from marianne_core.decide.messages import Limits, RunPolicy, SheetTask
from marianne_core.model.errors import InputError
from marianne_core.model.problem import Severity
from marianne_core.model.requests import SubmitRequest
from marianne_core.plan.dependencies import Dependencies
from marianne_core.plan.reading import read_and_check
from marianne_core.plan.sheets import Plan
from marianne_core.remember.changes import RunDraft, SheetDraft
from marianne_core.run.workspace import check_fresh, check_workspace


@dataclass(frozen=True, slots=True)
class Submission:
    """A request that can be carried out."""

    score: Score
    plan: Plan
    tasks: list[SheetTask]
    graph: SheetGraph
    sheets: list[SheetDraft]
    """The rows of its sheets."""
    request: SubmitRequest

    def draft(self, now: float) -> RunDraft:
        """The row of the run; `now` is wall clock, seconds."""
        options: dict[str, object] = {
            "fresh": self.request.fresh,
            "start_sheet": self.request.start_sheet,
        }
        if self.score.config.prompt.template_file is not None:
            # The run goes on with the template it began with, whatever becomes of the file.
            options["template"] = self.plan.renderer.source
        return RunDraft(
            score_path=str(self.score.path),
            score=self.score.text,
            name=self.score.config.name,
            workspace=str(self.plan.workspace),
            submitted_at=now,
            variables=self.request.variables,
            options=options,
        )


def read_request(request: SubmitRequest, profiles: Profiles, settings: DaemonConfig) -> Submission:
    """Read, check and plan a request's score. Takes its time for a large one: call it in a thread.

    Raises InputError (ScoreError with all problems for a score with errors) in words for the person
    who asked.
    """
    base = Path(request.client_cwd) if request.client_cwd else Path.cwd()
    workspace = base / Path(request.workspace).expanduser() if request.workspace else None
    score, plan, problems = read_and_check(
        base / Path(request.config_path).expanduser(),
        profiles,
        workspace=workspace,
        variables=request.variables,
        thinking_method=settings.default_thinking_method,
        to_run=True,
    )
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if plan is None or errors:
        raise ScoreError(errors)
    check_workspace(plan.workspace)
    start = request.start_sheet
    if start is not None and not 1 <= start <= plan.total_sheets:
        raise InputError(
            f"there is no sheet {start} to start with",
            where=str(score.path),
            hint=f"its sheets are 1 to {plan.total_sheets}",
        )
    if request.fresh:
        check_fresh(plan.workspace, plan.config.workspace_lifecycle, score=score.path)
    tasks = tasks_of(plan)
    return Submission(score, plan, tasks, SheetGraph(tasks), drafts_of(plan), request)


def tasks_of(plan: Plan) -> list[SheetTask]:
    """The plan's sheets as the decisions need them."""
    return [
        SheetTask(
            sheet.num,
            deps,
            sheet.instrument,
            sheet.model,
            sheet.timeout,
            sheet.choice.raw_prompt,
        )
        for sheet, deps in zip(plan.sheets, _shared(plan), strict=True)
    ]


def _shared(plan: Plan) -> Iterator[Dependencies]:
    """What each sheet waits for, with equal blocks made once: where stages wait voice by voice for
    many others, each block is there for every one of them."""
    blocks: dict[range, range] = {}
    last: Dependencies = ()
    shared = last
    for sheet in plan.sheets:
        deps = sheet.deps
        if deps is not last:  # the sheets of a stage share one tuple
            last = deps
            shared = tuple(blocks.setdefault(block, block) for block in deps)
        yield shared


def drafts_of(plan: Plan) -> list[SheetDraft]:
    """The plan's sheets as the store keeps them."""
    return [
        SheetDraft(
            sheet.num,
            sheet.instrument,
            movement=sheet.movement,
            voice=sheet.instance,
            model=sheet.model,
            description=sheet.title,
        )
        for sheet in plan.sheets
    ]


def policy_of(score: JobConfig, settings: DaemonConfig) -> RunPolicy:
    """When and how often the score's sheets run (design, section 9)."""
    retry, parallel = score.retry, score.parallel
    return RunPolicy(
        max_retries=retry.max_retries,
        base_delay=retry.base_delay_seconds,
        max_delay=retry.max_delay_seconds,
        exponential_base=retry.exponential_base,
        jitter=retry.jitter,
        max_completion_attempts=retry.max_completion_attempts,
        completion_delay=retry.completion_delay_seconds,
        completion_threshold=retry.completion_threshold_percent,
        max_waits=score.rate_limit.max_waits,
        limit_wait=score.rate_limit.wait_minutes * 60.0,
        max_concurrent=parallel.max_concurrent if parallel.enabled else 1,
        fail_fast=parallel.enabled and parallel.fail_fast,
        stagger=parallel.stagger_delay_ms / 1000 if parallel.enabled else 0.0,
        pause_between=score.pause_between_sheets_seconds,
        job_timeout=settings.job_timeout_seconds,
    )


def limits_of(settings: DaemonConfig, profiles: Profiles) -> Limits:
    """What the conductor allows at once: over all, and of each instrument's models.

    A raw instrument has no limit but what its profile's models say (design, section 9).
    """
    instruments: dict[tuple[str, str | None], int | None] = {}
    for name, profile in profiles.by_name.items():
        if profile.raw_prompt:
            instruments[name, None] = None
        for model in profile.models:
            instruments[name, model.name] = model.max_concurrent
    return Limits(
        max_concurrent_sheets=settings.max_concurrent_sheets,
        max_concurrent_jobs=settings.max_concurrent_jobs,
        instruments=instruments,
    )
