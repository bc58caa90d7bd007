"""A probe: two worlds that differ in one field, and what is seen in each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.effects import PREFIXES
from marianne_core.config.fields import Model, fields_of
from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.score.job import JobConfig
from tests.effects.world import (
    CONDUCTOR,
    FILES,
    ORDINARY,
    PROFILE,
    SCORE,
    Key,
    World,
    changed,
    laid_over,
)

MODELS: Mapping[str, Model] = {
    SCORE: JobConfig,
    PROFILE: InstrumentProfile,
    CONDUCTOR: DaemonConfig,
}

See = Callable[[World], Any]
"""Looks at a world from outside: at what is started, decided, kept or shown. May be a coroutine."""


@dataclass(frozen=True, eq=False)
class Probe:
    """One field, and the difference it makes alone."""

    file: str
    """Which of `FILES` holds it."""
    at: tuple[Key, ...]
    """Keys and places that lead to it."""
    given: Mapping[str, Mapping[str, Any]]
    """What all its worlds have in common, beside `ORDINARY`."""
    worlds: tuple[tuple[Any, Any], ...]
    """Each a value of the field, and what must be seen then."""
    see: See

    @property
    def field(self) -> str:
        """Dotted path of the field, as `config.effects` writes it."""
        model = MODELS[self.file]
        return PREFIXES[model] + dotted(model, self.at)

    def world(self, folder: Path, value: Any) -> World:
        """The world in which the field has this value, written to an empty folder."""
        files = {name: laid_over(ORDINARY[name], self.given.get(name, {})) for name in FILES}
        files[self.file] = changed(files[self.file], self.at, value)
        world = World(folder, files)
        world.write()
        return world

    def __str__(self) -> str:
        return f"{self.file}:{'.'.join(map(str, self.at))}"


def effect(
    at: str,
    *worlds: tuple[Any, Any],
    see: See,
    score: Mapping[str, Any] | None = None,
    profile: Mapping[str, Any] | None = None,
    conductor: Mapping[str, Any] | None = None,
) -> Probe:
    """A probe. `at` is a dotted path such as `sheet.cadenzas.2.0.file`; `profile:` and
    `conductor.yaml:` before it name the other files."""
    file, _, keys = at.rpartition(":")
    given = {SCORE: score or {}, PROFILE: profile or {}, CONDUCTOR: conductor or {}}
    path = tuple(int(key) if key.isdecimal() else key for key in keys.split("."))
    return Probe(file or SCORE, path, given, worlds, see)


def dotted(model: Model, at: Iterable[Key]) -> str:
    """The path of a field without the keys of maps and the places of lists on the way."""
    inside: Model | None = model
    names: list[str] = []
    layers = 0
    for key in at:
        if layers:
            layers -= 1
            continue
        assert inside is not None, f"{key} lies below {'.'.join(names)}, which holds no fields"
        field = next((each for each in fields_of(inside) if each.key == key), None)
        assert field is not None, f"{inside.__name__} has no field {key}"
        names.append(field.key)
        inside, layers = field.inner, field.layers
    return ".".join(names)
