"""Compile templates once, render them often, and say where and why one fails."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, UndefinedError, meta, nodes

from marianne_core.model.errors import InputError
from marianne_core.model.problem import Problem, Severity
from marianne_core.plan.sandbox import BoundsError, Sandbox

_STRICT = Sandbox()
_LENIENT = Sandbox(lenient=True)
_LARGE = 50_000
"""Characters of a template that is worth a thread for its size alone."""
_LONGEST_WORDS = 500
"""Characters of an error's own words: some quote the whole of a text."""
_WORK: tuple[type[nodes.Node], ...] = (nodes.For, nodes.Call, nodes.CallBlock, nodes.Mul, nodes.Pow)
"""What can multiply the work of a template."""
_UNDEFINED = re.compile(r"^'([^']+)' is undefined$")


class Fault(StrEnum):
    """What can be wrong with a template."""

    SYNTAX = "syntax"
    UNDEFINED = "undefined"
    """It uses a name, or a part of a value, that does not exist."""
    BOUNDS = "bounds"
    """It goes on for too long, or makes too much text."""
    FILE = "file"
    """The file of the template cannot be read."""
    OTHER = "other"
    """An operation in it failed: wrong types, a forbidden attribute, and so on."""


_CODES = {
    Fault.SYNTAX: "V001",
    Fault.FILE: "V003",
    Fault.UNDEFINED: "V101",
    Fault.BOUNDS: "V113",
    Fault.OTHER: "V113",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the text of a template stands, so that its lines can be named in the file."""

    file: str = ""
    first_line: int | None = None
    """Line of the file that holds the template's first line; None when that is not known."""
    line: int | None = None
    """Line to name when `first_line` is not known."""
    name: str = "template"
    """What the text is, for messages: `template`, `capture_files`, ..."""
    lines: tuple[int, ...] = ()
    """Lines of the file in which the template's lines begin, where YAML folded them."""

    def line_of(self, template_line: int | None) -> int | None:
        """Line of the file for a line of the template, both from 1."""
        if template_line is not None and template_line <= len(self.lines):
            return self.lines[template_line - 1]
        if self.first_line is None or template_line is None:
            return self.line if self.line is not None else self.first_line
        return self.first_line + template_line - 1


class TemplateProblem(InputError):
    """A template that does not compile or cannot be rendered."""

    def __init__(
        self,
        message: str,
        fault: Fault,
        origin: Origin,
        *,
        line: int | None = None,
        undefined: str = "",
        hint: str = "",
    ) -> None:
        file_line = origin.line_of(line)
        where = f"{origin.file}:{file_line}" if origin.file and file_line else origin.file
        place = f" (line {line} of the {origin.name})" if line else ""
        super().__init__(f"{message}{place}", where=where, hint=hint)
        self.message = message
        """What is wrong, without the place."""
        self.fault = fault
        self.origin = origin
        self.line = line
        """Line of the template, from 1."""
        self.undefined = undefined
        """The variable that does not exist, where that is the fault."""

    def problem(self, severity: Severity = Severity.ERROR) -> Problem:
        """The same as a finding of a check."""
        return Problem(
            severity,
            _CODES[self.fault],
            self.what,
            self.origin.file,
            self.origin.line_of(self.line),
            None,
            self.hint,
        )


@dataclass(frozen=True, slots=True)
class Renderer:
    """One compiled template. Make it with `compile_template`."""

    source: str
    origin: Origin
    template: Template
    names: frozenset[str]
    """Variables it may ask for, those behind conditions included."""
    numbers: frozenset[int] = frozenset()
    """Whole numbers that stand in it."""
    lengthy: bool = False
    """It may take long for what stands in it: it goes over things, calls something, or is large."""
    lenient: bool = False

    def render(self, variables: Mapping[str, Any]) -> str:
        """The text for these variables. Raises TemplateProblem."""
        environment = _LENIENT if self.lenient else _STRICT
        try:
            return environment.render(self.template, dict(variables))
        except BoundsError as error:
            raise self._failed(error, Fault.BOUNDS, str(error)) from None
        except UndefinedError as error:
            raise self._undefined(error, variables) from None
        except RecursionError as error:
            raise self._failed(error, Fault.BOUNDS, "the template nests too deeply") from None
        except OverflowError as error:
            text = "a number or a range in the template is too large"
            raise self._failed(error, Fault.BOUNDS, text) from None
        except TemplateError as error:
            raise self._failed(error, Fault.OTHER, str(error)) from None
        except Exception as error:
            # Whatever an expression of a template can raise is the template's fault.
            text = f"{type(error).__name__}: {error}"
            raise self._failed(error, Fault.OTHER, text) from None

    def forgiving(self) -> Renderer:
        """The same template, with undefined variables as empty text."""
        return replace(self, template=_LENIENT.template(self.source), lenient=True)

    def _undefined(self, error: UndefinedError, variables: Mapping[str, Any]) -> TemplateProblem:
        message = error.message or "something is undefined"
        match = _UNDEFINED.match(message)
        if match is None:
            return self._failed(error, Fault.UNDEFINED, message)
        name = match[1]
        problem = self._failed(error, Fault.UNDEFINED, f"{name!r} is undefined")
        problem.undefined = name
        problem.hint = undefined_hint(name, variables)
        return problem

    def _failed(self, error: BaseException, fault: Fault, text: str) -> TemplateProblem:
        line = None
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_globals.get("__jinja_template__") is self.template:
                line = self.template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        if len(text) > _LONGEST_WORDS:
            text = f"{text[:_LONGEST_WORDS]}…"
        return TemplateProblem(text, fault, self.origin, line=line)


def undefined_hint(name: str, known: Collection[str]) -> str:
    """What to do about a name that is not defined."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"add it under prompt.variables, pass --var {name}=..., or guard it: is defined"


def compile_template(source: str, origin: Origin = Origin()) -> Renderer:
    """Compile a template. Raises TemplateProblem when its syntax is wrong."""
    try:
        tree = _STRICT.parse(source)
        # First of all: what is done next puts lists of numbers together.
        constants = (node.value for node in tree.find_all(nodes.Const))
        numbers = frozenset(value for value in constants if type(value) is int)
        names = frozenset(meta.find_undeclared_variables(tree))
        lengthy = len(source) > _LARGE or any(map(tree.find, _WORK))
        return Renderer(source, origin, _STRICT.template(source), names, numbers, lengthy)
    except TemplateSyntaxError as error:
        raise TemplateProblem(
            error.message or "syntax error",
            Fault.SYNTAX,
            origin,
            line=error.lineno,
            hint=_syntax_hint(error.message or ""),
        ) from None
    except RecursionError:
        raise TemplateProblem("the template nests too deeply", Fault.SYNTAX, origin) from None


@lru_cache(maxsize=512)
def cached_template(source: str, *, lenient: bool = False) -> Renderer:
    """Compile a short template of a score (a path, a directive) once. Raises as the above.

    With `lenient`, undefined variables are empty text.
    """
    template = compile_template(source, Origin(name="text"))
    return template.forgiving() if lenient else template


def _syntax_hint(message: str) -> str:
    if "tag" in message:
        return "every {% if %}, {% for %}, {% macro %} needs its {% end... %}"
    if "filter" in message:
        return "only Jinja's own filters and `quote` exist"
    return "to write braces as text, put them between {% raw %} and {% endraw %}"


def excused_names(source: str) -> frozenset[str]:
    """Variables that need not exist: the template sets them, or asks first whether they do."""
    tree = _STRICT.parse(source)
    found = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
    found |= {macro.name for macro in tree.find_all(nodes.Macro)}
    for test in tree.find_all(nodes.Test):
        if test.name in ("defined", "undefined") and isinstance(test.node, nodes.Name):
            found.add(test.node.name)
    for filter_ in tree.find_all(nodes.Filter):
        if filter_.name in ("default", "d") and isinstance(filter_.node, nodes.Name):
            found.add(filter_.node.name)
    return frozenset(found)
