"""The Jinja environment of scores: strict, sandboxed, and bounded in steps and size.

A template is a program of a stranger that runs in the conductor's loop, so it must end. Every
turn of a loop and every call is counted, texts have a largest size, and nothing a template does
can change the variables it was given.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from jinja2 import StrictUndefined, Template, Undefined, nodes
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from marianne_core.plan.lazy import plain

MAX_STEPS = 250_000
"""Turns of loops and calls of one rendering."""
MAX_CHARS = 8_000_000
"""Characters of one rendering, and of every text on the way to it."""
MAX_NUMBER = 10**100
"""Largest number that a template may multiply its way to."""


_WIDE = re.compile(r"%[-+ #0]*(?:\d{6,}|\*)|[:.][^{}]*(?:\d{6,}|\{)")


class BoundsError(Exception):
    """A template that goes on for too long or makes too much; the text says which."""


class _Budget:
    """What one rendering has left."""

    def __init__(self) -> None:
        self.steps = MAX_STEPS

    def spend(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise BoundsError(f"the template takes more than {MAX_STEPS:,} steps")


# Rendering never awaits, so one variable per context is one budget per rendering, in threads too.
_budget: ContextVar[_Budget] = ContextVar("template_budget")
_spent: ContextVar[int] = ContextVar("template_steps", default=0)


def steps_taken() -> int:
    """Steps that the latest rendering in this context took, also if it failed."""
    return _spent.get()


def _counted(items: Any) -> Iterable[Any]:
    """The items of a `for` loop, each of them one step."""
    return _Counted(items)


class _Counted:
    """An iterable that counts; it has a length exactly if the wrapped one has (`loop.last`)."""

    def __init__(self, items: Any) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        budget = _budget.get()
        for item in self._items:
            budget.spend()
            yield item

    def __len__(self) -> int:
        return len(self._items)


def _sized(text: Any) -> Any:
    """A text of a size that is still reasonable."""
    if isinstance(text, str | list | tuple) and len(text) > MAX_CHARS:
        raise BoundsError(f"the template makes a text of more than {MAX_CHARS:,} characters")
    return text


def _small_numbers(filter_: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose number argument is a size (width, count), with a bound on it."""

    @functools.wraps(filter_)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _small(*args[1:], *kwargs.values())
        return filter_(*args, **kwargs)

    return bounded


def _small(*values: Any) -> None:
    """Refuse numbers that ask for a text of an unreasonable size."""
    for value in values:
        if isinstance(value, int) and abs(value) > MAX_CHARS:
            raise BoundsError(f"{value} is too large a size")


def _narrow(text: Any) -> None:
    """Refuse format strings that ask for an unreasonable width: `%9999999d`, `{:>9999999}`."""
    if isinstance(text, str) and ("%" in text or "{" in text) and _WIDE.search(text):
        raise BoundsError("a width in a format string is too large")


class Sandbox(ImmutableSandboxedEnvironment):
    """Environment of every template of a score. Undefined names are errors unless `lenient`."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self, *, lenient: bool = False) -> None:
        super().__init__(
            undefined=Undefined if lenient else StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            cache_size=0,
        )
        # No loader exists, and `lipsum` makes texts of any size.
        self.globals.pop("lipsum", None)
        for name in ("center", "indent", "batch", "slice"):
            self.filters[name] = _small_numbers(self.filters[name])
        self.policies["json.dumps_kwargs"] = {"default": plain}
        self.filters["quote"] = lambda value: shlex.quote(str(value))
        self.filters["_counted"] = _counted
        self.filters["_sized"] = _sized

    def template(self, source: str) -> Template:
        """Compile. Raises jinja2.TemplateSyntaxError."""
        tree = self.parse(source)
        _bound(tree)
        template = self.from_string(tree)
        # A chain of two mappings otherwise, which every rendering copies through its slow iterator.
        template.globals = dict(template.globals)
        return template

    def render(self, template: Template, variables: dict[str, Any]) -> str:
        """Run a template of this environment. Raises what it raises, and BoundsError."""
        budget = _Budget()
        token = _budget.set(budget)
        try:
            return "".join(self._chunks(template, variables))
        finally:
            _budget.reset(token)
            _spent.set(MAX_STEPS - max(0, budget.steps))

    def _chunks(self, template: Template, variables: dict[str, Any]) -> Iterator[str]:
        size = 0
        # The render function itself: generate() would rewrite tracebacks, which costs more than
        # the rendering, and the line can be had from them as they are.
        for chunk in template.root_render_func(template.new_context(variables)):
            size += len(chunk)
            if size > MAX_CHARS:
                raise BoundsError(f"the template makes more than {MAX_CHARS:,} characters")
            yield chunk

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call something from a template: one step, and a result of bounded size."""
        _budget.get().spend()
        if isinstance(obj, LoopContext):
            args = (_Counted(args[0]), *args[1:]) if args else args
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            _small(*args)
        return _sized(super().call(context, obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """The safe form of `str.format`, without widths that fill the memory."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _narrow(value.__self__)
        return wrapped

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Work out `left operator right` where the result could be immense."""
        if operator == "**":
            return _power(left, right)
        if operator == "*":
            return _product(left, right)
        if operator == "%":
            _narrow(left)
        return _sized(super().call_binop(context, operator, left, right))


def _power(left: Any, right: Any) -> Any:
    if abs(right) > 1000 or abs(left) > MAX_NUMBER:
        raise BoundsError("the power is too large")
    return _bounded_number(left**right)


def _product(left: Any, right: Any) -> Any:
    for text, times in ((left, right), (right, left)):
        repeated = isinstance(text, str | list | tuple) and isinstance(times, int)
        if repeated and len(text) * max(times, 0) > MAX_CHARS:
            raise BoundsError("the repeated text is too long")
    return _bounded_number(left * right)


def _bounded_number(value: Any) -> Any:
    if isinstance(value, int) and abs(value) > MAX_NUMBER**10:
        raise BoundsError("the number is too large")
    return value


def _bound(tree: nodes.Template) -> None:
    """Put a counter around what every loop goes over and a measure around every joined text."""
    for loop in list(tree.find_all(nodes.For)):
        loop.iter = _filtered(loop.iter, "_counted")
    _wrap_joined(tree)


def _wrap_joined(node: nodes.Node) -> None:
    for name, value in list(node.iter_fields()):
        if isinstance(value, list):
            for place, item in enumerate(value):
                if isinstance(item, nodes.Node):
                    _wrap_joined(item)
                    if isinstance(item, nodes.Concat | nodes.Filter):
                        value[place] = _measured(item)
        elif isinstance(value, nodes.Node):
            _wrap_joined(value)
            if isinstance(value, nodes.Concat | nodes.Filter):
                setattr(node, name, _measured(value))


def _measured(node: nodes.Expr) -> nodes.Expr:
    own = isinstance(node, nodes.Filter) and node.name in ("_counted", "_sized")
    return node if own else _filtered(node, "_sized")


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    # A node of a finished tree is an expression here: jinja2 types a loop's `iter` too widely.
    wrapped = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
    wrapped.environment = node.environment
    return wrapped
