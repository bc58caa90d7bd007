"""Write the reference pages of the docs from the models, or check that they are current.

`python -m marianne_core.config.reference [--check] [FOLDER]`; the folder is docs/reference unless
another is named. With --check nothing is written, and the exit status is 1 when a page differs.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from marianne_core.config.daemon import PROFILES, DaemonConfig
from marianne_core.config.effects import PREFIXES, block_of, effect_words, reason_without_effect
from marianne_core.config.fields import Model, ModelField, fields_of
from marianne_core.config.instrument import InstrumentProfile
from marianne_core.config.score.extras import FleetConfig
from marianne_core.config.score.job import JobConfig
from marianne_core.config.wording import default_words, type_words


class _Page(NamedTuple):
    file: str
    title: str
    model: Model
    opening: str


_GENERATED = "<!-- Written by `python -m marianne_core.config.reference`; do not edit. -->"

_PAGES: Final = (
    _Page(
        "score.md",
        "The score",
        JobConfig,
        "A score is a YAML file of at most 4 MB. `name`, `sheet` and `prompt` are needed, all else "
        "has a default. A key that is not listed here is an error.",
    ),
    _Page(
        "profile.md",
        "Instrument profiles",
        InstrumentProfile,
        "A profile tells how an instrument is played. Profiles are YAML files in "
        "`~/.marianne/instruments` and in `.marianne/instruments` of the current directory; a later "
        "one of the same name replaces an earlier one, and both replace the built-in ones.",
    ),
    _Page(
        "configuration.md",
        "conductor.yaml",
        DaemonConfig,
        "The conductor's settings stand in `~/.marianne/conductor.yaml` if it exists, else in "
        "`$XDG_CONFIG_HOME/marianne/conductor.yaml`. Every setting has a default. `--profile` "
        "chooses one of the sets "
        + ", ".join(f"`{name}`" for name in PROFILES)
        + ", which win over the file.",
    ),
)


def pages() -> Iterator[tuple[str, str]]:
    """The reference pages: file name and text of each."""
    for page in _PAGES:
        parts = [f"# {page.title}", _GENERATED, page.opening, *_blocks(page.model)]
        if page.model is JobConfig:
            parts += ["# Fleets", _doc(FleetConfig), *_blocks(FleetConfig)]
        yield page.file, "\n\n".join(parts) + "\n"


def stale_pages(folder: Path) -> list[str]:
    """Names of the pages in `folder` that are missing or not what the models say now."""
    return [name for name, text in pages() if _read(folder / name) != text]


def main(arguments: Sequence[str]) -> int:
    """Write or check the pages; returns the exit status."""
    names = [argument for argument in arguments if not argument.startswith("-")]
    folder = Path(names[0]) if names else Path("docs", "reference")
    if "--check" in arguments:
        stale = stale_pages(folder)
        for name in stale:
            sys.stderr.write(
                f"{folder / name} is not current: run python -m marianne_core.config.reference\n"
            )
        return 1 if stale else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _blocks(model: Model) -> Iterator[str]:
    """A table for the top level, then one for each block below it, each model once."""
    homes: dict[Model, str] = {}
    prefix = PREFIXES.get(model, "")
    yield _table(list(fields_of(model)), prefix, homes)
    waiting = [field for field in fields_of(model) if field.inner]
    while waiting:
        field = waiting.pop(0)
        assert field.inner is not None
        if field.inner in homes:
            continue
        homes[field.inner] = field.path
        inside = list(fields_of(field.inner, f"{field.path}."))
        yield f"## `{field.path}`"
        yield " ".join([_doc(field.inner), *_note(f"{prefix}{field.path}")])
        yield _table(inside, prefix, homes)
        waiting[:0] = [below for below in inside if below.inner]


def _doc(model: Model) -> str:
    return inspect.cleandoc(model.__doc__ or "")


def _table(fields: list[ModelField], prefix: str, homes: dict[Model, str]) -> str:
    lines = ["| field | type | default | what it does |", "|---|---|---|---|"]
    for field in fields:
        words = field.doc
        home = homes.get(field.inner) if field.inner else None
        if home is not None and home != field.path:
            words += f" Its keys are those of `{home}`."
        words = " ".join([words, *_own_note(f"{prefix}{field.path}")])
        cells = (f"`{field.key}`", type_words(field), default_words(field), words)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _note(path: str) -> list[str]:
    """What is said about a field or a block without effect."""
    reason = reason_without_effect(path)
    if reason is None:
        return []
    words = effect_words(reason)
    return [f"*{words[0].upper()}{words[1:]}.*"]


def _own_note(path: str) -> list[str]:
    """The same, unless it was said about the block around the field."""
    block = block_of(path)
    return [] if block and reason_without_effect(block) else _note(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
