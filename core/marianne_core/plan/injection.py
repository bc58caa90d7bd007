"""Files that a score puts into prompts: the prelude of every sheet, the cadenza of one.

Field reference, sections 1.2 and 2.5. Nothing here is fatal: what cannot be injected is said, to
the person as a warning, and to the agent where it can help itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marianne_core.config.score.sheet import InjectionCategory, InjectionItem
from marianne_core.plan.sheets import Plan
from marianne_core.plan.templates import Fault, TemplateProblem, cached_template

MAX_BYTES = 1_000_000
"""Largest file that is put into a prompt; of larger ones only the path is named."""

_KINDS = {
    ".pdf": "PDF document",
    ".doc": "Word document",
    ".docx": "Word document",
    ".odt": "text document",
    ".xls": "spreadsheet",
    ".xlsx": "spreadsheet",
    ".ods": "spreadsheet",
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"), "image"),
}


@dataclass(slots=True)
class Injected:
    """What was read for one prompt."""

    texts: dict[InjectionCategory, list[str]] = field(default_factory=dict)
    """Texts by category, prelude first, in the order of the score."""
    warnings: list[str] = field(default_factory=list)

    def of(self, category: InjectionCategory) -> list[str]:
        """Texts of one category."""
        return self.texts.get(category, [])


def items_for(plan: Plan, num: int) -> list[InjectionItem]:
    """Everything that is injected into a sheet: the prelude, then its cadenza."""
    return [*plan.config.sheet.prelude, *plan.config.sheet.cadenzas.get(num, ())]


def inject(plan: Plan, num: int, variables: Mapping[str, Any]) -> Injected:
    """Read everything injected into a sheet; `variables` are those of its template."""
    injected = Injected()
    for item in items_for(plan, num):
        try:
            path, warnings = item_path(plan, item, variables)
        except TemplateProblem as error:
            written = item.file or item.directory
            injected.warnings.append(f"{written!r} is not injected: {error.what}")
            continue
        injected.warnings += warnings
        texts, problem = _directory(path) if item.directory is not None else _file(path)
        if problem:
            what = "background" if item.as_ is InjectionCategory.CONTEXT else f"a {item.as_}"
            injected.warnings.append(f"{what} is missing from the prompt: {path}: {problem}")
        if texts:
            injected.texts.setdefault(item.as_, []).extend(texts)
    return injected


def item_path(
    plan: Plan, item: InjectionItem, variables: Mapping[str, Any]
) -> tuple[Path, list[str]]:
    """Absolute path of an item, and what was strange about it.

    Undefined variables in a path are empty text, as people's files expect, and are named.
    Raises TemplateProblem when the path cannot be worked out at all.
    """
    written = item.file or item.directory or ""
    warnings: list[str] = []
    try:
        rendered = cached_template(written).render(variables)
    except TemplateProblem as error:
        if error.fault is not Fault.UNDEFINED:
            raise
        warnings.append(f"the path {written!r}: {error.message}")
        rendered = cached_template(written, lenient=True).render(variables)
    path = os.path.expanduser(rendered.strip())
    return Path(os.path.normpath(plan.workspace / path)), warnings


def _file(path: Path) -> tuple[list[str], str]:
    """The text of a file, or an instruction in its place; and what is wrong, if anything."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            return [], "it is not a file"
        if info.st_size > MAX_BYTES:
            return [f"Read this file yourself, it is too large to quote: {path}"], ""
        return [path.read_bytes().decode("utf-8")], ""
    except UnicodeDecodeError:
        kind = _KINDS.get(path.suffix.lower(), "file")
        return [f"Open this {kind} with your tools before you start: {path}"], ""
    except (OSError, ValueError) as error:
        return [], getattr(error, "strerror", None) or str(error)


def _directory(path: Path) -> tuple[list[str], str]:
    """The texts of a directory's files, in order of their names, each under its name."""
    try:
        names = sorted(os.listdir(path))
    except (OSError, ValueError) as error:
        return [], getattr(error, "strerror", None) or str(error)
    texts: list[str] = []
    problems: list[str] = []
    for name in names:
        if not (path / name).is_file():
            continue
        found, problem = _file(path / name)
        texts += [f"### {name}\n\n{text}" for text in found]
        if problem:
            problems.append(f"{name}: {problem}")
    if not texts and not problems:
        problems.append("it holds no files")
    return texts, "; ".join(problems)
