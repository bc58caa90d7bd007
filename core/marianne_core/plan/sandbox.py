"""The Jinja environment of scores: strict, sandboxed, and bounded in steps, sizes and work.

A template is a program of a stranger that runs in the conductor's loop, so it must end. Every
turn of a loop and every call is counted, what it does with texts and lists is measured, and nothing
a template does can change the variables it was given.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, Undefined, nodes
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from marianne_core.plan import bounds
from marianne_core.plan.bounded_filters import (
    bounded_filters,
    bounded_tests,
    check_method,
    join_texts,
    percent,
    small,
)
from marianne_core.plan.bounds import (
    MAX_CHARS,
    MAX_NUMBER,
    TEXT,
    BoundsError,
    Budget,
    Counted,
    budget,
    drawn,
)
from marianne_core.plan.lazy import plain

__all__ = ["BoundsError", "Sandbox"]


class _Namespace(Namespace):
    """A namespace can be put into itself, so its text does not say what is in it."""

    def __repr__(self) -> str:
        return "<Namespace>"


class Sandbox(ImmutableSandboxedEnvironment):
    """Environment of every template of a score. Undefined names are errors unless `lenient`."""

    intercepted_binops = frozenset({"*", "**", "%", "+", "//"})
    concat = staticmethod(bounds.concat)

    def __init__(self, *, lenient: bool = False) -> None:
        super().__init__(
            undefined=Undefined if lenient else StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            cache_size=0,
            finalize=bounds.shown,
        )
        # No loader exists, and `lipsum` makes texts of any size.
        self.globals.pop("lipsum", None)
        self.globals["namespace"] = _Namespace
        self.policies["json.dumps_kwargs"] = {"default": plain}
        self.filters["quote"] = lambda value: shlex.quote(bounds.text_of(value))
        self.filters = bounded_filters(self.filters)
        self.tests.update(bounded_tests(self.tests))
        self.filters["_counted"] = Counted
        self.filters["_made"] = _made
        self.filters["_joined"] = _joined
        self.filters["_used"] = _used
        self.filters["_searched"] = _searched

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
        token = bounds.begin(Budget())
        try:
            size, chunks = 0, []
            # The render function itself: generate() would rewrite tracebacks, which costs more than
            # the rendering, and the line can be had from them as they are.
            for chunk in template.root_render_func(template.new_context(variables)):
                size += len(chunk)
                if size > MAX_CHARS:
                    raise BoundsError(f"the template makes more than {MAX_CHARS:,} characters")
                chunks.append(chunk)
            return "".join(chunks)
        finally:
            bounds.end(token)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Get an item or attribute from an object."""
        if type(argument) is tuple:
            budget().handle(argument)  # it is hashed
        return super().getitem(obj, argument)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call something from a template: one step, and a result of bounded size."""
        spent = budget()
        spent.spend()
        owner = getattr(obj, "__self__", None)
        if isinstance(obj, LoopContext):
            args = (Counted(args[0]), *args[1:]) if args else args
        elif isinstance(owner, TEXT):
            if obj.__name__ == "join":
                args = (list(drawn(args[0])), *args[1:]) if args else args
            check_method(owner, obj.__name__, args, kwargs)
        elif isinstance(owner, Mapping):
            if obj.__name__ == "get":
                return super().call(context, obj, *args, **kwargs)  # nothing new
        elif isinstance(owner, int):
            small(*args, *kwargs.values())
        elif isinstance(owner, list | tuple | type | LoopContext) or isinstance(obj, type):
            for value in (owner, *args):
                spent.handle(value)
        return spent.made(super().call(context, obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """The safe form of `str.format`, that does not fill the memory."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def bounded(*args: Any, **kwargs: Any) -> str:
            check_method(value.__self__, value.__name__, args, kwargs)
            return wrapped(*args, **kwargs)

        return bounded

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Work out `left operator right` where the result could be immense."""
        if operator == "**":
            return _power(left, right)
        if operator == "*":
            return _product(left, right)
        if operator == "%":
            percent(left, right)
        return _made(super().call_binop(context, operator, left, right))


def _made(value: Any) -> Any:
    return budget().made(value)


def _joined(values: list[Any]) -> str:
    """`values[0] ~ values[1] ~ ...`"""
    return join_texts("", map(bounds.text_of, values))


def _used(value: Any) -> Any:
    """What is compared, or is the key of a dict."""
    budget().handle(value)
    return value


def _searched(value: Any) -> Any:
    """What `in` looks into."""
    if isinstance(value, (str, bytes, list, tuple)):
        budget().handle(value)
    return value


def _power(left: Any, right: Any) -> Any:
    if abs(right) > 1000 or abs(left) > MAX_NUMBER:
        raise BoundsError("the power is too large")
    return _made(left**right)


def _product(left: Any, right: Any) -> Any:
    for text, times in ((left, right), (right, left)):
        repeated = isinstance(text, str | bytes | list | tuple) and isinstance(times, int)
        if repeated and len(text) * max(times, 0) > MAX_CHARS:
            raise BoundsError("the repeated text is too long")
    return _made(left * right)


# --- measures in the compiled template ------------------------------------------------------------

_OF_ONE_PIECE = (nodes.Const, nodes.TemplateData)


def _bound(tree: nodes.Template) -> None:
    """Put a counter around what every loop goes over, and measures where texts and lists are joined,
    cut, compared and hashed."""
    for loop in list(tree.find_all(nodes.For)):
        loop.iter = _filtered(loop.iter, "_counted")
    for compare in list(tree.find_all(nodes.Compare)):
        _measure_compared(compare)
    for pair in list(tree.find_all(nodes.Pair)):
        if not isinstance(pair.key, _OF_ONE_PIECE):
            pair.key = _filtered(pair.key, "_used")
    _wrap_made(tree)


def _measure_compared(compare: nodes.Compare) -> None:
    sides: Iterable[nodes.Expr] = (compare.expr, *(operand.expr for operand in compare.ops))
    equality = not any(operand.op in ("in", "notin") for operand in compare.ops)
    if equality and any(isinstance(side, _OF_ONE_PIECE) for side in sides):
        return  # what is compared with a number or a short text ends at its first difference
    compare.expr = _one_piece_or(compare.expr, "_used")
    for operand in compare.ops:
        searched = operand.op in ("in", "notin")
        operand.expr = _one_piece_or(operand.expr, "_searched" if searched else "_used")


def _one_piece_or(node: nodes.Expr, measure: str) -> nodes.Expr:
    return node if isinstance(node, _OF_ONE_PIECE) else _filtered(node, measure)


def _wrap_made(node: nodes.Node) -> None:
    for name, value in list(node.iter_fields()):
        if isinstance(value, list):
            value[:] = [_measured(each) for each in value]
        else:
            setattr(node, name, _measured(value))


def _measured(value: Any) -> Any:
    """What makes a text or list without a filter, a call or an intercepted operator, measured."""
    if not isinstance(value, nodes.Node):
        return value
    _wrap_made(value)
    if isinstance(value, nodes.Concat):
        return _filtered(nodes.List(value.nodes, lineno=value.lineno), "_joined")
    cut = isinstance(value, nodes.Getitem) and isinstance(value.arg, nodes.Slice)
    return _filtered(value, "_made") if cut else value


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    # A node of a finished tree is an expression here: jinja2 types a loop's `iter` too widely.
    wrapped = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
    wrapped.environment = node.environment
    return wrapped
