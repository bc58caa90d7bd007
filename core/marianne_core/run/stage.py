"""The stage: attempts that are alive, from their launch order until their end is reported.

Whatever happens to an attempt, three things hold: its intent is committed before anything of it is
spawned, the order to end it is committed before anything of it is signalled, and its end is told to
the baton exactly once, whatever raised.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

from marianne_core.decide import messages
from marianne_core.decide.baton import Baton
from marianne_core.decide.messages import Kill, Launch, Message
from marianne_core.model.clock import Clock
from marianne_core.model.errors import StateError
from marianne_core.model.events import Event
from marianne_core.model.outcome import Ended, Outcome
from marianne_core.read.redact import redact
from marianne_core.remember import changes
from marianne_core.remember.changes import Change, Sync
from marianne_core.remember.journal import Journal
from marianne_core.run.active import ActiveRun, LastAttempt, Playing
from marianne_core.run.ahead import Ahead
from marianne_core.run.intents import Intents
from marianne_core.run.judgements import Judgements
from marianne_core.run.musician import AttemptLog, Musician
from marianne_core.run.processes import boot_id
from marianne_core.run.recovery import (
    Adopt,
    Exited,
    Finding,
    HeldByStranger,
    Lost,
    MustEnd,
    OtherBoot,
)
from marianne_core.run.shortages import Shortages

Part = Callable[[Playing], Awaitable[Outcome]]
"""What is to be done of an attempt: all of it, or what an earlier conductor left."""

_BEFORE_ANOTHER_TRY = 0.5
"""Seconds until an attempt whose intent was refused is offered to the baton again."""

_WORDS: dict[type[Finding], str] = {
    Adopt: "it runs on and was taken over",
    Exited: "it ended while no conductor was there",
    HeldByStranger: "held by a process this conductor cannot see",
    MustEnd: "its shim was killed; what is left of it is ended",
    Lost: "nobody knows how it ended",
    OtherBoot: "the machine was started anew since",
}

_log = logging.getLogger(__name__)


class Director(Protocol):
    """Whom the stage tells what became of its attempts: the engine."""

    def tell(self, message: Message) -> list[Change]:
        """Give the baton a message and carry its effects out; returns the rows to be written."""
        ...

    def publish(self, event: Event, run: ActiveRun, rows: list[Change]) -> None:
        """Show an event to everybody, and add its row to `rows`."""
        ...


class _NotIntended(Exception):
    """The intent to start an attempt could not be stored."""


class Stage:
    """Plays, ends and takes up attempts. Belongs to one event loop. An `AttemptLog`."""

    def __init__(
        self,
        director: Director,
        runs: Mapping[int, ActiveRun],
        baton: Baton,
        *,
        clock: Clock,
        journal: Journal,
        musician: Callable[[AttemptLog], Musician],
        shortages: Shortages,
    ) -> None:
        """`runs` are the director's runs by run id."""
        self._director = director
        self._runs = runs
        self._baton = baton
        self._clock = clock
        self._journal = journal
        self._shortages = shortages
        self._boot_id = boot_id()
        self._intents = Intents(journal, baton.likely, baton.after, self._intent)
        self._playing: dict[tuple[int, int], Playing] = {}
        self._early_kills: dict[tuple[int, int], Kill] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._judgements = Judgements(journal)
        self.musician = musician(self)
        """Plays the attempts."""
        self._ahead = Ahead(self.musician, baton, self._intents, runs=runs, playing=self._playing)

    @property
    def living(self) -> int:
        """How many attempts are being played."""
        return len(self._playing)

    def doing(self, run_id: int, num: int) -> str:
        """What a sheet's living attempt is busy with, where that is not plainly its work."""
        attempt = self._playing.get((run_id, num))
        return attempt.doing if attempt is not None else ""

    def so_far(self, run_id: int, num: int) -> dict[str, float | None] | None:
        """What a sheet's living attempt has used until about a second ago; None where nothing tells."""
        attempt = self._playing.get((run_id, num))
        used = None if attempt is None or attempt.progress is None else attempt.progress.so_far
        return None if used is None else asdict(used)

    # --- orders of the baton --------------------------------------------------------------------

    def launch(self, run: ActiveRun, effect: Launch) -> None:
        """Play a new attempt."""
        record = self._baton.record(run.run_id, effect.num)
        token = self._intents.token_of(effect)
        attempt = Playing(run, effect.num, effect.attempt, effect.mode, token, record.untried)
        self._judgements.launched(dependent=bool(run.plan.sheets[effect.num - 1].deps))
        self._play(attempt, self.musician.play)

    def kill(self, effect: Kill) -> None:
        """End a living attempt."""
        key = (effect.run_id, effect.num)
        attempt = self._playing.get(key)
        if attempt is None:
            # A run that is taken over may be told to end before its attempts are taken up.
            self._early_kills[key] = effect
            return
        if attempt.number != effect.attempt:
            return
        ending = asyncio.create_task(
            self.musician.end(attempt, effect.ended, effect.reason),
            name=f"end {effect.run_id}.{effect.num}.{effect.attempt}",
        )
        self._endings.add(ending)
        ending.add_done_callback(self._ending_done)

    def take_up(self, attempt: Playing, part: Part, finding: Finding) -> None:
        """Go on with an attempt of an earlier conductor; `part` is what is left of it to do. One that
        lives has its deadline."""
        run = attempt.run
        # Known before anything is told: a deadline that is past orders its end at once.
        self._playing[run.run_id, attempt.num] = attempt
        if isinstance(finding, Adopt | HeldByStranger):
            attempt.shim_alive = True
            message = messages.AttemptStarted(
                run.run_id, attempt.num, attempt.number, attempt.deadline
            )
            self._add(self._director.tell(message))
        self.note(attempt, "sheet.recovered", reason=_words(finding))
        self._play(attempt, part)

    def forget(self, run_id: int) -> None:
        """The run is over: its intents that were never needed are closed."""
        self._ahead.forget(run_id)
        unused = Outcome(Ended.NEVER_RAN, reason="the run ended before it was needed")
        wall = self._clock.wall()
        self._add(
            [
                changes.AttemptFinished(run_id, num, attempt, at=wall, outcome=unused)
                for _, num, attempt in self._intents.forget(run_id)
            ]
        )

    async def settle(self) -> None:
        """Returns when nothing is left of what was started ahead and is not needed."""
        await self._ahead.settle()

    async def leave(self) -> None:
        """Stop waiting for attempts; they live on, and their rows are the next conductor's."""
        self._leaving = True
        self._ahead.leave()
        tasks = [p.task for p in self._playing.values() if p.task is not None]
        tasks += self._endings
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.musician.close()

    # --- what the musician says (`AttemptLog`) ----------------------------------------------------

    async def intend(self, attempt: Playing) -> None:
        """The intent to start the attempt is in the store when this returns."""
        attempt.intended = True
        try:
            await self._intents.committed(attempt.run.run_id, attempt.num, attempt.number)
            if attempt.run.plan.sheets[attempt.num - 1].deps:
                await self._judgements.written()
        except StateError as error:
            raise _NotIntended(str(error)) from error

    def started(self, attempt: Playing) -> None:
        """An attempt's process exists."""
        run = attempt.run
        attempt.deadline = self._clock.now() + run.plan.sheets[attempt.num - 1].timeout
        row = changes.AttemptBegun(
            run.run_id,
            attempt.num,
            attempt.number,
            at=attempt.started_at,
            deadline=attempt.deadline,
            argv_digest=attempt.argv_digest,
            prompt_hash=attempt.prompt_hash,
        )
        message = messages.AttemptStarted(run.run_id, attempt.num, attempt.number, attempt.deadline)
        self._journal.add([row, *self._director.tell(message)], sync=Sync.WRITE)
        asyncio.get_running_loop().call_soon(self._ahead.started, attempt)

    async def ending(self, attempt: Playing) -> None:
        """The order to end the attempt is in the store when this returns, if it can be written.

        A store in trouble keeps nobody from ending a sheet: a restart may then take an orderly
        leave for the sheet's own.
        """
        assert attempt.ended_as is not None
        row = changes.AttemptEnding(
            attempt.run.run_id,
            attempt.num,
            attempt.number,
            at=self._clock.wall(),
            ended=attempt.ended_as,
            reason=attempt.ended_why,
        )
        try:
            await self._journal.commit([row], sync=Sync.WRITE)
        except StateError as error:
            self.note(attempt, "sheet.warning", reason=f"its end is not journaled: {error.what}")

    def note(self, attempt: Playing, event: str, **data: object) -> None:
        """Something worth a line in the journal of events; texts go without credentials."""
        told = {key: redact(text) if isinstance(text, str) else text for key, text in data.items()}
        rows: list[Change] = []
        happened = Event(
            event,
            attempt.run.job_id,
            attempt.run.number,
            attempt.num,
            self._clock.wall(),
            {"attempt": attempt.number, **told},
        )
        self._director.publish(happened, attempt.run, rows)
        self._add(rows)

    def disk_full(self, folder: Path, reason: str) -> None:
        """The disk of this folder has no room: nothing starts until it has."""
        self._shortages.disk_full(folder, reason)

    def short_of_means(self, reason: str) -> None:
        """No process, memory or open file was left for a start: nothing starts for a moment."""
        self._shortages.of_means(reason)

    # --- from a task to an end --------------------------------------------------------------------

    def _play(self, attempt: Playing, part: Part) -> None:
        self._playing[attempt.run.run_id, attempt.num] = attempt
        attempt.task = asyncio.create_task(self._to_its_end(attempt, part))
        early = self._early_kills.pop((attempt.run.run_id, attempt.num), None)
        if early is not None:
            self.kill(early)

    async def _to_its_end(self, attempt: Playing, part: Part) -> None:
        try:
            outcome = await part(attempt)
        except _NotIntended as error:
            # Nothing was started. With a full disk the engine holds, else this is the pause.
            await asyncio.sleep(_BEFORE_ANOTHER_TRY)
            outcome = Outcome(Ended.NEVER_RAN, reason=str(error))
        except Exception as error:
            # Whatever raised: the sheet must not stay in progress, nor its processes alive.
            _log.exception(
                "stage.attempt_failed", extra={"run_id": attempt.run.run_id, "sheet": attempt.num}
            )
            try:
                await self.musician.make_sure_it_is_over(attempt)
            except Exception:
                _log.exception("stage.tree_not_ended", extra={"sheet": attempt.num})
            outcome = Outcome(
                Ended.FAILED,
                code="E999",
                reason=f"the conductor failed: {type(error).__name__}: {error}",
                retriable=False,
            )
        if self._leaving:
            return
        del self._playing[attempt.run.run_id, attempt.num]
        self._ended(attempt, outcome)

    def _ended(self, attempt: Playing, outcome: Outcome) -> None:
        run = attempt.run
        # From here it goes to the store, into events and to every view.
        if outcome.reason:
            outcome = replace(outcome, reason=redact(outcome.reason))
        self._intents.used(run.run_id, attempt.num, attempt.number)
        if attempt.report is not None:
            run.reports[attempt.num] = attempt.report
        rows: list[Change] = [
            changes.AttemptFinished(
                run.run_id,
                attempt.num,
                attempt.number,
                at=self._clock.wall(),
                outcome=outcome,
                results=attempt.report.results if attempt.report else (),
                outputs=attempt.outputs,
            )
        ]
        if run.plan.config.sheet.skip_when:
            run.lasts[attempt.num] = LastAttempt(
                attempt.number, outcome.exit_code, outcome.pass_rate
            )
        run.ending = (attempt.num, outcome)
        rows += self._director.tell(
            messages.AttemptEnded(run.run_id, attempt.num, attempt.number, outcome)
        )
        run.ending = None
        self._add(rows)
        self._judgements.ended(outcome, validated=attempt.report is not None)
        self._ahead.ended(attempt)

    def _ending_done(self, ending: asyncio.Task[None]) -> None:
        self._endings.discard(ending)
        if not ending.cancelled() and (error := ending.exception()):
            _log.error("stage.ending_failed", extra={"what": ending.get_name()}, exc_info=error)

    def _intent(self, launch: Launch, token: str) -> changes.AttemptIntended:
        sheet = self._runs[launch.run_id].plan.sheets[launch.num - 1]
        return changes.AttemptIntended(
            launch.run_id,
            launch.num,
            launch.attempt,
            at=self._clock.wall(),
            token=token,
            boot_id=self._boot_id,
            instrument=sheet.instrument,
            model=sheet.model,
            mode=launch.mode,
        )

    def _add(self, rows: list[Change]) -> None:
        if rows:
            self._journal.add(rows, sync=Sync.LAZY)


def _words(finding: Finding) -> str:
    if isinstance(finding, MustEnd) and not finding.started:
        return "its conductor was killed before it was started; what is left of it is ended"
    return _WORDS[type(finding)]
