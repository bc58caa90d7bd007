"""`{name}` placeholders of validation paths and commands: small, and silent about other braces.

Two dialects meet here. Real scores write `{workspace}` (a format placeholder) and now and then
`{{ workspace }}` (Jinja, which validations never promised). Both name a variable, so both are
replaced; every other brace stays as it is written, because shell, awk, JSON and Python are full
of them. The one thing that is refused is `{word}` in a *path* where no variable is called `word`:
a file of that name is never what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_ACCESS = r"(?P<{0}access>(?:\.[A-Za-z_]\w*|\[[^\[\]{{}}]*\])*)"
_PLACEHOLDER = re.compile(
    r"\{\{\s*(?P<jname>[A-Za-z_]\w*)" + _ACCESS.format("j") + r"\s*\}\}"
    r"|\{(?P<name>[A-Za-z_]\w*)" + _ACCESS.format("") + r"(?::(?P<spec>[^{}]*))?\}"
)
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[([^\[\]{}]*)\]")


class PlaceholderError(Exception):
    """A placeholder that cannot be replaced; the text says which one and why."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{name}`, `{name.key}`, `{name[1]}`, `{name:02d}` or `{{ name }}` in a text."""

    start: int
    end: int
    name: str
    access: str
    """What follows the name: `.key`, `[1]`, or nothing."""
    spec: str
    """Format specification after a colon, as Python's format() reads it."""
    text: str
    """As written, braces included."""

    def value(self, variables: Mapping[str, Any]) -> str:
        """The text that takes its place. Raises PlaceholderError."""
        if self.name not in variables:
            raise PlaceholderError(f"{self.text} names no variable")
        found: Any = variables[self.name]
        for attribute, index in _STEP.findall(self.access):
            found = _step(found, attribute or index.strip("'\" "), self.text)
        try:
            return format(found, self.spec) if self.spec else str(found)
        except (ValueError, TypeError) as error:
            raise PlaceholderError(f"{self.text}: {error}") from None


def _step(found: Any, key: str, text: str) -> Any:
    """One level deeper into a mapping or a list; integer keys match integers."""
    keys: list[Any] = [key]
    if key.lstrip("-").isdecimal():
        keys.insert(0, int(key))
    for candidate in keys:
        if isinstance(found, Mapping) and candidate in found:
            return found[candidate]
        is_place = isinstance(found, list | tuple) and isinstance(candidate, int)
        if is_place and -len(found) <= candidate < len(found):
            return found[candidate]
    raise PlaceholderError(f"{text}: there is no {key!r}")


def placeholders(text: str) -> Iterator[Placeholder]:
    """All places in `text` that look like a placeholder, known or not, in order."""
    for match in _PLACEHOLDER.finditer(text):
        yield Placeholder(
            match.start(),
            match.end(),
            match["jname"] or match["name"],
            match["jaccess"] or match["access"] or "",
            match["spec"] or "",
            match.group(),
        )


def expand_path(text: str, variables: Mapping[str, Any]) -> str:
    """`text` with its placeholders replaced. Raises PlaceholderError for a name that is unknown.

    Braces that hold no plain name (`{a,b}`, `{}`, `{2}`) are kept.
    """
    return _replace(text, list(placeholders(text)), lambda p: p.value(variables))


def expand_known(
    text: str,
    variables: Mapping[str, Any],
    quote: Callable[[str, list[int]], Callable[[int, str], str]] | None = None,
) -> str:
    """`text` with the placeholders of known variables replaced, and everything else left alone.

    For commands and for texts that are shown. `${name}` is the shell's, and kept. `quote` is
    called with the text and the places, and returns what makes a value safe at a place.
    """
    known = [
        p
        for p in placeholders(text)
        if p.name in variables and not (p.start and text[p.start - 1] == "$")
    ]
    if not known:
        return text
    safe = quote(text, [p.start for p in known]) if quote is not None else None

    def value(place: Placeholder) -> str:
        try:
            found = place.value(variables)
        except PlaceholderError:
            return place.text
        return safe(place.start, found) if safe is not None else found

    return _replace(text, known, value)


def _replace(text: str, places: list[Placeholder], value: Callable[[Placeholder], str]) -> str:
    parts: list[str] = []
    position = 0
    for place in places:
        parts += text[position : place.start], value(place)
        position = place.end
    parts.append(text[position:])
    return "".join(parts)
