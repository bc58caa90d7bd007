"""Validations of one attempt: staged, retried, and never in the way of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import regex

from marianne_core.model.clock import Clock, SystemClock
from marianne_core.model.outcome import FailureCategory, ValidationReport, ValidationResult
from marianne_core.plan.rules import COMMAND_SECONDS, BoundRule
from marianne_core.read.redact import redact
from marianne_core.run.command import run_command
from marianne_core.run.instrument.patterns import SEARCH_SECONDS, PatternError, compile_pattern
from marianne_core.run.validate.baseline import Baseline
from marianne_core.run.validate.commands import CommandRunner, command_succeeds
from marianne_core.run.validate.content import content_contains, content_regex
from marianne_core.run.validate.files import file_exists, file_modified, look_at
from marianne_core.run.validate.verdict import Fault, Verdict

NOTHING_TO_CHECK = ValidationReport()
"""The report of every attempt of a sheet without rules."""

_INLINE = 64 * 1024
"""Files up to this size are searched for a text in the event loop: a thread would cost more."""
_THREADS = 2
_BREATH = 20
"""Rules between two turns of the event loop."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What all rules of one attempt are looked at with."""

    workspace: Path
    baseline: Baseline
    env: Mapping[str, str]
    token: str


class Validator:
    """Looks at the rules of attempts; one serves a whole conductor."""

    def __init__(
        self,
        *,
        run: CommandRunner = run_command,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        search_seconds: float = SEARCH_SECONDS,
    ) -> None:
        self._run = run
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._search_seconds = search_seconds
        self._threads: ThreadPoolExecutor | None = None

    async def validate(
        self,
        rules: Sequence[BoundRule],
        *,
        workspace: Path,
        baseline: Baseline,
        env: Mapping[str, str],
        token: str,
    ) -> ValidationReport:
        """One result for every rule, in the order of the score.

        Stages run in ascending order, the rules of a stage one after another. All rules of a stage
        are looked at; the first stage with a failure is the last, and the rules of later stages
        count as failed, with the category "skipped". A rule that failed is looked at again
        `retry_count` times, unless that cannot help (a time limit was used up).

        What goes wrong with a file or command is a result, never an exception. Commands run with
        `env` and carry `token`; cancelling the call ends a running command.
        """
        if not rules:
            return NOTHING_TO_CHECK
        attempt = _Attempt(workspace, baseline, env, token)
        results: list[ValidationResult] = []
        failed_stage: int | None = None
        ordered = sorted(rules, key=lambda rule: rule.stage)
        for stage, members in groupby(ordered, key=lambda rule: rule.stage):
            if failed_stage is not None:
                results += [_skipped(rule, failed_stage) for rule in members]
                continue
            found = []
            for place, rule in enumerate(members, 1):
                found.append(await self._check(rule, attempt))
                if place % _BREATH == 0:
                    # A look at a file never waits, so a thousand of them would be one long step.
                    await asyncio.sleep(0)
            results += found
            if not all(result.passed for result in found):
                failed_stage = stage
        return ValidationReport(tuple(sorted(results, key=lambda result: result.rule)))

    def close(self) -> None:
        """Let go of the threads; a search that still runs in one ends within its time limit."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def _check(self, rule: BoundRule, attempt: _Attempt) -> ValidationResult:
        started = self._clock.now()
        tries = 1
        verdict = await self._look(rule, attempt)
        while not verdict.passed and not verdict.final and tries <= rule.retry_count:
            await self._sleep(rule.retry_delay)
            verdict = await self._look(rule, attempt)
            tries += 1
        return _result(rule, verdict, tries, self._clock.now() - started)

    async def _look(self, rule: BoundRule, attempt: _Attempt) -> Verdict:
        """Look at a rule once."""
        path, pattern = rule.path, rule.pattern
        if rule.type == "command_succeeds" and rule.command is not None:
            return await command_succeeds(
                rule.command,
                cwd=rule.cwd or attempt.workspace,
                env=attempt.env,
                token=attempt.token,
                seconds=rule.timeout or COMMAND_SECONDS,
                run=self._run,
            )
        if rule.type == "file_exists" and path is not None:
            return file_exists(path)
        if rule.type == "file_modified" and path is not None:
            return file_modified(path, attempt.baseline)
        if rule.type == "content_contains" and path is not None and pattern is not None:
            seen = look_at(path)
            if isinstance(seen, Fault) or seen.st_size <= _INLINE:
                return content_contains(path, pattern, rule.timeout)
            return await self._in_thread(lambda: content_contains(path, pattern, rule.timeout))
        if rule.type == "content_regex" and path is not None and pattern is not None:
            return await self._look_for_match(path, pattern, rule.timeout)
        return Verdict(
            False,
            "a rule that can be looked at",
            "incomplete",
            f"the rule {rule.type} lacks its path, pattern or command",
            FailureCategory.ERROR,
            "Correct the rule in the score.",
            final=True,
        )

    async def _look_for_match(self, path: Path, pattern: str, seconds: float | None) -> Verdict:
        try:
            compiled = compile_pattern(pattern, regex.MULTILINE)
        except PatternError as error:
            return Verdict(
                False,
                "a pattern that compiles",
                pattern,
                f"the pattern does not compile: {error}",
                FailureCategory.ERROR,
                "Correct the rule's pattern in the score.",
                final=True,
            )
        # Always in a thread: the shortest text can keep a bad pattern busy.
        return await self._in_thread(
            lambda: content_regex(path, compiled, seconds, self._search_seconds)
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="mzt-validate")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _result(rule: BoundRule, verdict: Verdict, tries: int, duration: float) -> ValidationResult:
    """What is stored, shown and told to the next attempt: without credentials of rules and files."""
    return ValidationResult(
        rule=rule.index,
        rule_type=rule.type,
        description=redact(rule.description),
        passed=verdict.passed,
        stage=rule.stage,
        path=str(rule.path) if rule.path is not None else None,
        pattern=None if rule.pattern is None else redact(rule.pattern),
        command=None if rule.command is None else redact(rule.command),
        expected=redact(verdict.expected),
        actual=redact(verdict.actual),
        reason=redact(verdict.reason),
        category=verdict.category,
        suggested_fix=redact(verdict.fix),
        tries=tries,
        duration=duration,
    )


def _skipped(rule: BoundRule, failed_stage: int) -> ValidationResult:
    verdict = Verdict(
        False,
        "",
        "not looked at",
        f"skipped, because stage {failed_stage} failed",
        FailureCategory.SKIPPED,
        f"First make the validations of stage {failed_stage} pass.",
    )
    return _result(rule, verdict, 0, 0.0)
