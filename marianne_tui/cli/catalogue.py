"""The commands of `mzt`: what each is for, and where its code lives.

`mzt --help` is painted from this table alone, so that it costs no imports.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One command."""

    name: str
    summary: str
    """One line, shown by `mzt --help`."""
    example: str
    """One command line that a person can type as it stands."""
    module: str = ""
    """Module below `marianne_tui.cli.commands` whose attribute `command` it is; "" = the name."""

    @property
    def target(self) -> str:
        """Full name of the module."""
        return f"marianne_tui.cli.commands.{self.module or self.name}"


SECTIONS: dict[str, tuple[Entry, ...]] = {
    "Play a score": (
        Entry("init", "Write a first score to start from.", "mzt init my-score"),
        Entry("validate", "Check a score and show its plan.", "mzt validate my-score.yaml"),
        Entry("run", "Run a score to its end.", "mzt run my-score.yaml"),
    ),
    "Look": (
        Entry("list", "Jobs, the newest first.", "mzt list --all", "list_jobs"),
        Entry("status", "Where a job stands, sheet by sheet.", "mzt status my-score"),
        Entry("logs", "What a sheet wrote.", "mzt logs my-score --sheet 2 -f"),
        Entry("errors", "What went wrong in a job, and what to do.", "mzt errors my-score"),
        Entry("history", "Every attempt of a job, or all its runs.", "mzt history my-score"),
    ),
    "Steer": (
        Entry("pause", "Start no new sheets of a job.", "mzt pause my-score"),
        Entry("resume", "Go on with a paused, failed or cancelled job.", "mzt resume my-score"),
        Entry("cancel", "End a job and the processes of its sheets.", "mzt cancel my-score"),
        Entry("retry", "Run failed sheets again.", "mzt retry my-score --sheet 3"),
        Entry(
            "clear-rate-limits",
            "Use instruments again that a rate limit has parked.",
            "mzt clear-rate-limits -i claude-code",
            "clear_rate_limits",
        ),
        Entry("clear", "Forget jobs that are over, with their files.", "mzt clear --status failed"),
    ),
    "Set up": (
        Entry("fields", "What can stand in a score, and what it does.", "mzt fields score"),
        Entry("instruments", "Instruments that scores can name.", "mzt instruments list"),
        Entry("doctor", "Check that this machine is ready.", "mzt doctor"),
        Entry("completion", "Print the completion script of a shell.", "mzt completion bash"),
    ),
}

ENTRIES: dict[str, Entry] = {
    entry.name: entry for entries in SECTIONS.values() for entry in entries
}
