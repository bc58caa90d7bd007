"""What one rendering of a template may cost: steps, sizes, and the work on texts and lists.

Measured before the work is done: a text that would fill the memory must not be made first. All
work is counted in one currency, so that no mixture of small and large things escapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextvars import ContextVar, Token
from types import MethodType
from typing import Any

from jinja2.runtime import Macro

MAX_STEPS = 250_000
"""Turns of loops and calls of one rendering."""
MAX_CHARS = 8_000_000
"""Characters of one rendering, and of every text on the way to it."""
MAX_NUMBER = 10**100
"""Largest number that a template may multiply its way to."""

STEP = 1000
"""Work of one step: as much as handling a text of that many characters."""
NODE = 20
"""Work of making one item of a list."""
_LOOK = 200
"""Work of measuring one item of a list."""
_DRAW = 500
"""Work of giving one item to a filter."""
_LARGEST_BITS = (MAX_NUMBER**10).bit_length()
_ITEM_CHARS = 4
"""Characters that an item takes in its list's text beside its own: quotes, comma, space."""
_LAZY_CHARS = 10_000
"""What a value that is looked up when it is asked for counts as a text: to measure is not to ask."""

TEXT = (str, bytes)
LISTS = (list, tuple, dict)
_CONTAINERS = (*LISTS, AbstractSet, Mapping)
_PLAIN = frozenset({str, int, float, bool, type(None)})


class BoundsError(Exception):
    """A template that goes on for too long or makes too much; the text says which."""


class Budget:
    """What one rendering has left."""

    __slots__ = ("_known", "_left")

    def __init__(self) -> None:
        self._left = MAX_STEPS * STEP
        self._known: dict[int, tuple[object, int]] = {}
        """Extents of containers, which are kept so that no other gets their id. Templates cannot
        change a container."""

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return MAX_STEPS - max(0, self._left) // STEP

    def spend(self, work: int = STEP) -> None:
        """Take note of work, in characters handled. Raises BoundsError when there was too much."""
        self._left -= work
        if self._left < 0:
            raise BoundsError(
                f"the template takes more than {MAX_STEPS:,} steps (turns of loops, calls, and "
                f"{STEP:,} characters handled are one each)"
            )

    def handle(self, value: Any, times: int = 1) -> None:
        """A value is gone through as a whole, at `times` the cost of copying a text."""
        if isinstance(value, TEXT):
            self.spend(len(value) * times)
        elif is_container(value):
            self.spend(self.extent(value) * times)

    def made(self, value: Any) -> Any:
        """A value that was made just now: of a reasonable size, or BoundsError."""
        if isinstance(value, TEXT):
            room_for(len(value))
            self.spend(len(value))
        elif isinstance(value, LISTS):
            room_for(len(value))
            self.spend(len(value) * NODE)
        elif isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
            raise BoundsError("the number is too large")
        return value

    def extent(self, value: Any) -> int:
        """About how many characters the text of a value has (`str`), without making it.

        What stands in it several times counts several times. Raises BoundsError when to measure
        takes too long: it is too large then for whatever is to be done with it.
        """
        if isinstance(value, TEXT):
            return len(value)
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        total = 0
        todo = [value]
        while todo:
            each = todo.pop()
            self.spend(_LOOK)
            total += _ITEM_CHARS
            if isinstance(each, TEXT):
                total += len(each)
            elif isinstance(each, int):
                total += each.bit_length() // 3
            elif (known := self._known.get(id(each))) is not None:
                total += known[1]
            elif isinstance(each, dict):
                todo += each
                todo += each.values()
            elif isinstance(each, (list, tuple)):
                todo += each
            elif isinstance(each, _CONTAINERS):
                total += _LAZY_CHARS
            elif isinstance(each, MethodType):
                todo.append(each.__self__)  # stands in its text
        if is_container(value):
            self._known[id(value)] = value, total
        return total


# Rendering never awaits, so one variable per context is one budget per rendering, in threads too.
_budget: ContextVar[Budget] = ContextVar("template_budget")
_steps: ContextVar[int] = ContextVar("template_steps", default=0)

budget = _budget.get
"""The budget of the rendering that goes on. Raises LookupError where there is none: a template that
is being compiled works nothing out beforehand."""
begin = _budget.set


def end(token: Token[Budget]) -> None:
    """A rendering is over."""
    _steps.set(_budget.get().steps)
    _budget.reset(token)


def steps_taken() -> int:
    """Steps that the latest rendering in this context took, also if it failed."""
    return _steps.get()


def is_container(value: object) -> bool:
    """Whether it is a list, a mapping, or something like it."""
    # What it almost always is comes first: to ask for a kind of thing takes longer.
    return type(value) not in _PLAIN and isinstance(value, _CONTAINERS)


def room_for(size: int) -> None:
    """Refuse to make a text or list of that size if it is unreasonable."""
    if size > MAX_CHARS:
        raise BoundsError(f"the template makes a text of more than {MAX_CHARS:,} characters")


def text_of(value: Any) -> str:
    """`str(value)`, of a reasonable size."""
    return value if type(value) is str else str(shown(value))


def shown(value: Any) -> Any:
    """A value of which the text is about to be made: it is of a reasonable size."""
    if type(value) in _PLAIN:
        return value
    spent = budget()
    if not isinstance(value, (*TEXT, Macro)):
        size = spent.extent(value)
        room_for(size)
        spent.spend(size)
    return value


def concat(parts: Iterable[str]) -> str:
    """Join the parts of a block, a macro or a `set`."""
    parts = list(parts)
    size = sum(map(len, parts))
    room_for(size)
    budget().spend(size)
    return "".join(parts)


class Counted:
    """An iterable, each item one step; it has a length if the wrapped one has (`loop.last`)."""

    def __init__(self, items: Any) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        spend = budget().spend
        for item in self._items:
            spend()
            yield item

    def __len__(self) -> int:
        return len(self._items)


def drawn(items: Iterable[Any]) -> Iterator[Any]:
    """The items of a filter that works on one after another: cheaper than turns of a loop."""
    spend = budget().spend
    for item in items:
        spend(_DRAW)
        yield item
