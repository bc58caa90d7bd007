"""Values of templates that are looked up when a template asks for them, and not before.

To a template they are a mapping and a list like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import TypeVar, overload

K = TypeVar("K")


class Texts(Mapping[K, str]):
    """Texts by key, each looked for and read when it is first asked for."""

    def __init__(
        self,
        keys: Callable[[], Collection[K]],
        has: Callable[[K], bool],
        read: Callable[[K], str],
    ) -> None:
        """`keys` gives, in order, what may be in it; `has` says of one of them whether it is."""
        self._keys = cache(keys)
        self._has = has
        self._read = cache(read)

    def __getitem__(self, key: K) -> str:
        if key not in self:
            raise KeyError(key)
        return self._read(key)

    def __contains__(self, key: object) -> bool:
        keys = self._keys()
        return key in keys and self._has(key)  # type: ignore[arg-type]  # it is one of the keys

    def __iter__(self) -> Iterator[K]:
        return filter(self._has, self._keys())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


class Numbers(Sequence[int]):
    """A list of numbers, worked out when it is first asked for."""

    def __init__(self, find: Callable[[], Sequence[int]]) -> None:
        self._find = cache(lambda: list(find()))

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> list[int]: ...

    def __getitem__(self, index: int | slice) -> int | list[int]:
        return self._find()[index]

    def __len__(self) -> int:
        return len(self._find())

    def __add__(self, other: list[int]) -> list[int]:
        return self._find() + other

    def __radd__(self, other: list[int]) -> list[int]:
        return other + self._find()

    def __eq__(self, other: object) -> bool:
        return self._find() == other

    __hash__ = None  # type: ignore[assignment]  # as a list's

    def __repr__(self) -> str:
        return repr(self._find())


def plain(value: object) -> object:
    """A lazy value as the dict or list that it stands for, for encoders. Raises TypeError."""
    if isinstance(value, Texts):
        return dict(value)
    if isinstance(value, Numbers):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable")
