"""What stands for things that are not known before a run, when its prompts are rendered as a check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, SupportsIndex, overload

from jinja2 import ChainableUndefined

from marianne_core.model.states import SheetStatus
from marianne_core.plan.cross_sheet import SKIPPED, CrossSheet, window_of
from marianne_core.plan.injection import items_for
from marianne_core.plan.lazy import Numbers, Texts
from marianne_core.plan.prompt import INJECTED
from marianne_core.plan.sheets import Plan

UNKNOWN_YET: Final = INJECTED.keys() | {"previous_outputs", "previous_files", "skipped_upstream"}
"""Variables whose values a run decides."""


class _AnyFile(dict[str, str]):
    """Stands for `previous_files`: whichever file a template asks for is there, and empty."""

    def __missing__(self, key: str) -> str:
        return ""


class _AnyNumber(list[str]):
    """Stands for the texts of a directory: one for certain, and whichever a template asks for."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> str | list[str]:
        try:
            return super().__getitem__(index)
        except IndexError:
            return ""


def stand_in(plan: Plan, num: int) -> CrossSheet:
    """Context of a sheet as if every sheet before it had completed without a word."""
    return _context(plan, num, SheetStatus.COMPLETED)


def _context(plan: Plan, num: int, status: SheetStatus) -> CrossSheet:
    """Context of a sheet as if every sheet before it stood at the same point.

    It is made of what a run makes it of, so that a template fails in the same words.
    """
    settings = plan.config.cross_sheet
    if settings is None:
        return CrossSheet()
    window = window_of(settings, num)
    skipped = status is SheetStatus.SKIPPED
    outputs: Mapping[int, str] = {}
    if settings.auto_capture_stdout:
        text = SKIPPED if skipped else ""
        known = window if status.terminal else window[:0]
        outputs = Texts(lambda: known, lambda _: True, lambda _: text)
    files: Mapping[str, str] = {}
    if settings.capture_files and status is SheetStatus.COMPLETED:
        files = _AnyFile()
    return CrossSheet(outputs, files, Numbers(lambda: window if skipped else ()))


def likely(plan: Plan, num: int) -> dict[str, Any]:
    """What a run is expected to give a sheet's template: every output, file and text is there."""
    return _for_templates(plan, stand_in(plan, num), _injected(plan, num))


def unlikely(plan: Plan, num: int) -> Iterator[dict[str, Any]]:
    """What it may give it instead: nothing at all, or only sheets that were skipped.

    What fails in the same words with all of them is certain to fail.
    """
    nothing: dict[str, list[str]] = {name: [] for name in INJECTED}
    yield _for_templates(plan, _context(plan, num, SheetStatus.PENDING), nothing)
    yield _for_templates(plan, _context(plan, num, SheetStatus.SKIPPED), nothing)


def _for_templates(
    plan: Plan, context: CrossSheet, injected: Mapping[str, list[str]]
) -> dict[str, Any]:
    found = {
        "previous_outputs": context.previous_outputs,
        "previous_files": context.previous_files,
        "skipped_upstream": context.skipped_upstream,
        **injected,
    }
    # A variable of the score wins over a built-in one.
    return {name: value for name, value in found.items() if name not in plan.variables}


def _injected(plan: Plan, num: int) -> dict[str, list[str]]:
    """A text for every file that is injected, and any number of them for a directory."""
    items = items_for(plan, num)
    texts: dict[str, list[str]] = {}
    for name, category in INJECTED.items():
        of_kind = [item for item in items if item.as_ is category]
        kind = _AnyNumber if any(item.directory is not None for item in of_kind) else list
        texts[name] = kind("" for _ in of_kind)
    return texts


class Absent(ChainableUndefined):
    """Stands for a variable that does not exist, so that what comes after it is looked at, too.

    Everything can be done with it, and it is as empty as it can be.
    """

    # The sandbox asks for them before it calls something.
    unsafe_callable = alters_data = False

    def _itself(self, *_: Any, **__: Any) -> Any:
        return self

    def _no(self, *_: Any) -> bool:
        return False

    __call__ = __getitem__ = __neg__ = __pos__ = __abs__ = _itself
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _itself
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _itself
    __mod__ = __rmod__ = __pow__ = __rpow__ = _itself
    __lt__ = __le__ = __gt__ = __ge__ = _no  # type: ignore[assignment]
    __contains__ = _no

    def __int__(self) -> int:  # type: ignore[override]
        return 0

    def __float__(self) -> float:  # type: ignore[override]
        return 0.0


class Present(Absent):
    """The same, but true, and one item long."""

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        yield self
