"""What an agent has used so far, from the events that tell it: one counter a dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

from marianne_core.read.dialects.values import count_of, dict_of, number_of


class Tally(ABC):
    """Counts tokens and cost; those of caches count as read, those of reasoning as written."""

    def __init__(self) -> None:
        self.tokens_in = 0
        """Tokens read so far."""
        self.tokens_out = 0
        """Tokens written so far."""
        self.cost = 0.0
        """US dollars so far, as far as the agent tells them."""

    @abstractmethod
    def take(self, event: dict[str, Any]) -> None:
        """Count what an event tells. No values are certain: anybody may have printed it."""

    def _set(self, tokens_in: int, tokens_out: int, cost: float = 0.0) -> None:
        if tokens_in or tokens_out or cost:
            self.tokens_in, self.tokens_out, self.cost = tokens_in, tokens_out, cost


class ClaudeTally(Tally):
    """A message tells what it used once for each of its blocks; the result tells the sum."""

    _message: object = None
    _of_message = 0

    def take(self, event: dict[str, Any]) -> None:
        """Count what an event tells."""
        kind = event.get("type")
        if kind == "assistant":
            self._count(dict_of(event.get("message")))
        elif kind == "user":
            self._message = None  # another message follows, even if it has the same id or none
        elif kind == "result":
            self._set(*claude_usage(event), number_of(event.get("total_cost_usd")))

    def _count(self, message: dict[str, Any]) -> None:
        usage = message.get("usage")
        if not isinstance(usage, dict):
            return
        if message.get("id") != self._message:
            self._message = message.get("id")
            self.tokens_in += _claude_read(usage)
            self._of_message = 0
        # What it wrote is told as far as it had got.
        wrote = count_of(usage.get("output_tokens"))
        if wrote > self._of_message:
            self.tokens_out += wrote - self._of_message
            self._of_message = wrote


class ClineTally(Tally):
    """Running totals."""

    def take(self, event: dict[str, Any]) -> None:
        """Count what an event tells."""
        told = dict_of(event.get("event"))
        if event.get("type") == "agent_event" and told.get("type") == "usage":
            read, written = told.get("totalInputTokens"), told.get("totalOutputTokens")
            self._set(count_of(read), count_of(written), number_of(told.get("totalCost")))


class CodexTally(Tally):
    """Told at the end of a turn."""

    def take(self, event: dict[str, Any]) -> None:
        """Count what an event tells."""
        if event.get("type") == "turn.completed":
            usage = dict_of(event.get("usage"))
            self._set(count_of(usage.get("input_tokens")), count_of(usage.get("output_tokens")))


class OpencodeTally(Tally):
    """Told by each step."""

    def take(self, event: dict[str, Any]) -> None:
        """Count what an event tells."""
        if event.get("type") != "step_finish":
            return
        part = dict_of(event.get("part"))
        tokens = dict_of(part.get("tokens"))
        cache = dict_of(tokens.get("cache"))
        for used in (tokens.get("input"), cache.get("read"), cache.get("write")):
            self.tokens_in += count_of(used)
        self.tokens_out += count_of(tokens.get("output")) + count_of(tokens.get("reasoning"))
        self.cost += number_of(part.get("cost"))


_TALLIES: Final[Mapping[str, type[Tally]]] = {
    "claude": ClaudeTally,
    "cline": ClineTally,
    "codex": CodexTally,
    "opencode": OpencodeTally,
}


def tally_of(dialect: str | None) -> Tally | None:
    """A new counter for a dialect; None for one that tells nothing before its end."""
    made = _TALLIES.get(dialect or "")
    return None if made is None else made()


def claude_usage(event: dict[str, Any]) -> tuple[int, int]:
    """Tokens of all models in Claude's result; `usage` is all zeros when a budget is exhausted."""
    models = [dict_of(used) for used in dict_of(event.get("modelUsage")).values()]
    if not models:
        usage = dict_of(event.get("usage"))
        return _claude_read(usage), count_of(usage.get("output_tokens"))
    names = ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
    return (
        sum(count_of(used.get(name)) for used in models for name in names),
        sum(count_of(used.get("outputTokens")) for used in models),
    )


def _claude_read(usage: dict[str, Any]) -> int:
    return (
        count_of(usage.get("input_tokens"))
        + count_of(usage.get("cache_read_input_tokens"))
        + count_of(usage.get("cache_creation_input_tokens"))
    )
