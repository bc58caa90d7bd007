"""Expressions that scores write (`condition`, `skip_when`): read, checked and worked out safely.

The grammar is a part of Python's: names, numbers, strings, lists, comparisons (chained too),
`and or not in`, arithmetic, `x if c else y`, `a.b`, `a[b]`, the calls of `CALLS` and `METHODS`,
and comprehensions over one name. Nothing else parses, so nothing else can run: no attribute with
an underscore, no call of anything a variable holds. Work is bounded by `MAX_STEPS`.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_LENGTH = 2000
"""Characters of one expression."""
MAX_STEPS = 200_000
"""Parts of an expression that one evaluation may work out."""
MAX_ITEMS = 1_000_000
"""Characters or items a sum may have."""

_LITERALS = {"true": True, "false": False, "null": None, "none": None}
"""What a person may write beside Python's own True, False and None."""

CALLS: dict[str, Callable[..., Any]] = {
    "len": len,
    "any": any,
    "all": all,
    "sum": sum,
    "min": min,
    "max": max,
    "abs": abs,
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
}
"""Functions an expression may call."""

METHODS: dict[type, frozenset[str]] = {
    str: frozenset({"lower", "upper", "strip", "startswith", "endswith", "count", "split"}),
    Mapping: frozenset({"get", "keys", "values", "items"}),
}
"""Methods an expression may call, by type of the object."""

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}


class ExpressionError(Exception):
    """An expression that does not parse or cannot be worked out."""

    def __init__(self, message: str, *, column: int | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        """What is wrong, one sentence."""
        self.column = column
        """Place in the expression, from 1; None when it is the whole."""
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression. Make it with `parse`."""

    text: str
    """As the person wrote it."""
    tree: ast.expr
    names: frozenset[str]
    """Variables it asks for."""

    def value(self, variables: Mapping[str, Any]) -> Any:
        """Work it out. Raises ExpressionError (unknown name, wrong types, too much work)."""
        try:
            return _Evaluation(variables).visit(self.tree)
        except ExpressionError:
            raise
        except RecursionError:
            raise ExpressionError("the expression is nested too deeply") from None

    def unknown(self, known: Iterable[str]) -> list[ExpressionError]:
        """One error for each name that is not in `known`, with the place and the nearest names."""
        known = set(known)
        missing: dict[str, ExpressionError] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and node.id in self.names - known:
                missing.setdefault(node.id, unknown_name(node.id, known, node.col_offset + 1))
        return list(missing.values())


def unknown_name(name: str, known: Iterable[str], column: int | None) -> ExpressionError:
    """The error for a name that no variable has."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"did you mean {near[0]}?" if near else f"put it in quotes if it is a text: '{name}'"
    return ExpressionError(f"unknown name {name!r}", column=column, hint=hint)


def parse(text: str) -> Expression:
    """Read an expression. Raises ExpressionError when it is not one, with the column."""
    source = text.strip().replace("\n", " ")
    if not source:
        raise ExpressionError("the expression is empty")
    if len(source) > MAX_LENGTH:
        raise ExpressionError(f"the expression is longer than {MAX_LENGTH} characters")
    if "\\" in source:
        # No text worth comparing needs one, and Python warns about escapes it does not know.
        raise ExpressionError("a backslash has no place here", column=source.index("\\") + 1)
    try:
        tree = ast.parse(source, mode="eval").body
        names = _Checker().names(tree)
    except SyntaxError as error:
        raise ExpressionError(
            f"{text.strip()!r} does not parse: {error.msg}", column=error.offset, hint=_hint(source)
        ) from None
    except (ValueError, MemoryError, RecursionError):
        raise ExpressionError("the expression is nested too deeply or holds a zero byte") from None
    return Expression(text, tree, names)


def _hint(source: str) -> str:
    if "&&" in source or "||" in source:
        return "write `and` and `or`"
    if "=" in source and not any(sign in source for sign in ("==", "!=", ">=", "<=")):
        return "write == to compare"
    return "for example: stage == 2 and instance in [1, 3]"


class _Checker:
    """Walks a tree once: refuses what the grammar has not, and collects the free names."""

    def names(self, tree: ast.expr) -> frozenset[str]:
        return frozenset(self._walk(tree, frozenset()))

    def _walk(self, node: ast.AST, bound: frozenset[str]) -> set[str]:
        match node:
            case ast.Name():
                free = node.id not in bound and node.id not in _LITERALS
                return {node.id} if free else set()
            case ast.Constant():
                if not isinstance(node.value, str | int | float | bool | None):
                    self._refuse(node, "this kind of literal")
                return set()
            case ast.GeneratorExp() | ast.ListComp():
                return self._comprehension(node, bound)
            case ast.Attribute():
                if node.attr.startswith("_"):
                    self._refuse(node, f"{node.attr!r}: names with an underscore in front")
            case ast.Call():
                self._call(node)
                if isinstance(node.func, ast.Name):
                    found: set[str] = set()
                    for argument in node.args:
                        found |= self._walk(argument, bound)
                    return found
            case ast.BinOp():
                if type(node.op) not in _ARITHMETIC:
                    self._refuse(node, f"the operator {type(node.op).__name__}")
            case ast.UnaryOp():
                if type(node.op) not in _SIGNS:
                    self._refuse(node, "the operator ~")
            case (
                ast.BoolOp()
                | ast.Compare()
                | ast.IfExp()
                | ast.Subscript()
                | ast.List()
                | ast.Tuple()
                | ast.Set()
            ):
                pass
            case ast.expr_context() | ast.boolop() | ast.operator() | ast.unaryop() | ast.cmpop():
                return set()
            case _:
                self._refuse(node, f"{type(node).__name__.lower()} expressions")
        found = set()
        for child in ast.iter_child_nodes(node):
            found |= self._walk(child, bound)
        return found

    def _comprehension(
        self, node: ast.GeneratorExp | ast.ListComp, bound: frozenset[str]
    ) -> set[str]:
        if len(node.generators) != 1 or not isinstance(node.generators[0].target, ast.Name):
            self._refuse(node, "comprehensions over more than one name")
        loop = node.generators[0]
        assert isinstance(loop.target, ast.Name)
        found = self._walk(loop.iter, bound)
        inner = bound | {loop.target.id}
        for part in (node.elt, *loop.ifs):
            found |= self._walk(part, inner)
        return found

    def _call(self, node: ast.Call) -> None:
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            self._refuse(node, "named or starred arguments")
        match node.func:
            case ast.Name(id=name) if name in CALLS:
                return
            case ast.Attribute(attr=name) if any(name in names for names in METHODS.values()):
                return
        self._refuse(node, f"a call of {ast.unparse(node.func)}")

    def _refuse(self, node: ast.AST, what: str) -> None:
        raise ExpressionError(
            f"not allowed here: {what}",
            column=getattr(node, "col_offset", 0) + 1,
            hint="comparisons, and, or, not, in, parentheses, a.b and a[b] are",
        )


class _Evaluation:
    """One run over a tree that `_Checker` has passed."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables
        self._local: Mapping[str, Any] = {}
        self._steps = 0

    def visit(self, node: ast.expr) -> Any:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise ExpressionError("the expression takes too many steps")
        try:
            return getattr(self, f"_{type(node).__name__.lower()}")(node)
        except ExpressionError:
            raise
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise ExpressionError(_words(error), column=node.col_offset + 1) from None

    def _constant(self, node: ast.Constant) -> Any:
        return node.value

    def _name(self, node: ast.Name) -> Any:
        for scope in (self._local, self._variables, _LITERALS):
            if node.id in scope:
                return scope[node.id]
        raise unknown_name(node.id, self._variables, node.col_offset + 1)

    def _boolop(self, node: ast.BoolOp) -> Any:
        stop = isinstance(node.op, ast.Or)
        value: Any = None
        for part in node.values:
            value = self.visit(part)
            if bool(value) is stop:
                break
        return value

    def _compare(self, node: ast.Compare) -> Any:
        left = self.visit(node.left)
        result: Any = True
        for sign, part in zip(node.ops, node.comparators, strict=True):
            right = self.visit(part)
            result = _COMPARE[type(sign)](left, right)
            if not result:
                break
            left = right
        return result

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        return _SIGNS[type(node.op)](self.visit(node.operand))

    def _binop(self, node: ast.BinOp) -> Any:
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(left, int | float) and isinstance(right, int | float):
            return _ARITHMETIC[type(node.op)](left, right)
        if isinstance(node.op, ast.Add):
            if len(left) + len(right) > MAX_ITEMS:
                raise ValueError("the sum is too long")
            return left + right
        raise TypeError(f"{ast.unparse(node)} needs numbers")

    def _ifexp(self, node: ast.IfExp) -> Any:
        return self.visit(node.body if self.visit(node.test) else node.orelse)

    def _list(self, node: ast.List) -> Any:
        return [self.visit(part) for part in node.elts]

    def _tuple(self, node: ast.Tuple) -> Any:
        return tuple(self.visit(part) for part in node.elts)

    def _set(self, node: ast.Set) -> Any:
        return {self.visit(part) for part in node.elts}

    def _subscript(self, node: ast.Subscript) -> Any:
        return self.visit(node.value)[self.visit(node.slice)]

    def _attribute(self, node: ast.Attribute) -> Any:
        owner = self.visit(node.value)
        if isinstance(owner, Mapping):
            return owner[node.attr]
        fields = getattr(type(owner), "EXPRESSION_FIELDS", ())
        if node.attr in fields:
            return getattr(owner, node.attr)
        near = difflib.get_close_matches(node.attr, sorted(fields), n=1)
        raise ExpressionError(
            f"{ast.unparse(node.value)} has no {node.attr!r}",
            column=node.col_offset + 1,
            hint=f"did you mean {near[0]}?" if near else "",
        )

    def _call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Name):
            return CALLS[node.func.id](*(self.visit(part) for part in node.args))
        assert isinstance(node.func, ast.Attribute)
        owner = self.visit(node.func.value)
        arguments = [self.visit(part) for part in node.args]
        for kind, names in METHODS.items():
            if isinstance(owner, kind) and node.func.attr in names:
                return getattr(owner, node.func.attr)(*arguments)
        raise TypeError(f"{ast.unparse(node.func.value)} has no {node.func.attr}()")

    def _listcomp(self, node: ast.ListComp) -> Any:
        return list(self._loop(node))

    def _generatorexp(self, node: ast.GeneratorExp) -> Iterator[Any]:
        return self._loop(node)

    def _loop(self, node: ast.GeneratorExp | ast.ListComp) -> Iterator[Any]:
        # The scope is taken here, not when the generator is consumed, and it is in force only
        # while an item is worked out: any() and all() stop early and never come back.
        return self._items(node, self._local)

    def _items(
        self, node: ast.GeneratorExp | ast.ListComp, scope: Mapping[str, Any]
    ) -> Iterator[Any]:
        loop = node.generators[0]
        assert isinstance(loop.target, ast.Name)
        for item in self._within(scope, loop.iter):
            inner = {**scope, loop.target.id: item}
            if all(self._within(inner, test) for test in loop.ifs):
                yield self._within(inner, node.elt)

    def _within(self, scope: Mapping[str, Any], node: ast.expr) -> Any:
        outer, self._local = self._local, scope
        try:
            return self.visit(node)
        finally:
            self._local = outer


def _words(error: Exception) -> str:
    """An error of Python's in a person's words."""
    if isinstance(error, KeyError | IndexError):
        return f"there is no {error.args[0]!r} in it" if error.args else "there is no such item"
    if isinstance(error, ZeroDivisionError):
        return "division by zero"
    text = str(error)
    return text.replace("instances of ", "")
