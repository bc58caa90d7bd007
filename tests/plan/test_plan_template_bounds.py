"""Templates that would fill the memory or go on for hours are refused before they do."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from marianne_core.plan.templates import Fault, TemplateProblem, compile_template

_NESTED = (
    "{% set n = namespace(l=[1], m=[1]) %}{% for i in range(40) %}"
    "{% set n.l = [n.l, n.l] %}{% set n.m = [n.m, n.m] %}{% endfor %}"
)
"""Two lists of 2 ** 40 items, that take 40 steps and hardly any memory to make."""
_TUPLES = (
    "{% set n = namespace(l=(1,)) %}{% for i in range(40) %}{% set n.l = (n.l, n.l) %}{% endfor %}"
)
_LARGE = "{% set x = 'a' * 7999999 %}"
_MANY = "{% set x = ['a' * 7999999] * 1000 %}"
_TURNS = _LARGE + "{% for i in range(100000) %}"

_ENDLESS = {
    "join": "{{ ''.join(['a' * 8000000] * 300) | length }}",
    "join filter": _MANY + "{{ x | join | length }}",
    "join separator": _LARGE + "{{ range(1000) | join(x) | length }}",
    "join bytes": "{{ ''.encode().join(['a'.encode() * 7999999] * 300) | length }}",
    "joined one by one": _MANY + "{{ x | select | join | length }}",
    "indent": "{{ ('a\\n' * 300) | indent(8000000) | length }}",
    "replace": _LARGE + "{{ x.replace('a', x) | length }}",
    "replace filter": _LARGE + "{{ x | replace('a', x) | length }}",
    "expandtabs": "{{ ('\\t' * 7999999).expandtabs(7999999) | length }}",
    "translate": _LARGE + "{{ x.translate({97: x}) | length }}",
    "wordwrap": _LARGE + "{{ x | wordwrap(1, wrapstring=x) | length }}",
    "format": _LARGE + "{{ ('{0}' * 100000).format(x) | length }}",
    "percent": _LARGE + "{{ ('%(a)s' * 100000) % {'a': x} }}",
    "format filter": _LARGE + "{{ ('%(a)s' * 100000) | format(a=x) | length }}",
    "concat": _LARGE + "{{ (" + " ~ ".join(["x"] * 300) + ") | length }}",
    "set block": _LARGE + "{% set y %}{% for i in range(1000) %}{{ x }}{% endfor %}{% endset %}",
    "macro": _LARGE + "{% macro m() %}{% for i in range(999) %}{{ x | upper }}{% endfor %}"
    "{% endmacro %}{{ m() | length }}",
    "map": _MANY + "{{ x | map('upper') | list | length }}",
    "list shown": _MANY + "{{ x }}",
    "list in json": _MANY + "{{ x | tojson | length }}",
    "indented json": "{{ ([[1]] * 100000) | tojson(indent=8000000) | length }}",
    "nested shown": _NESTED + "{{ n.l }}",
    "nested in json": _NESTED + "{{ n.l | tojson }}",
    "nested pretty": _NESTED + "{{ n.l | pprint }}",
    "nested string": _NESTED + "{{ n.l | string }}",
    "nested safe": _NESTED + "{{ n.l | safe }}",
    "nested concat": _NESTED + "{{ 'a' ~ n.l }}",
    "nested percent": _NESTED + "{{ '%s' % n.l }}",
    "nested format": _NESTED + "{{ '{}'.format(n.l) }}",
    "nested equal": _NESTED + "{{ n.l == n.m }}",
    "nested selected": _NESTED + "{{ [n.l] | select('eq', n.m) | list }}",
    "nested found": _NESTED + "{{ [n.l].index(n.m) }}",
    "nested changed": _NESTED + "{% for i in [n.l, n.m] %}{{ loop.changed(i) }}{% endfor %}",
    "nested key": _TUPLES + "{{ {n.l: 1} }}",
    "nested looked up": _TUPLES + "{{ {}[n.l] }}",
    "nested in": _TUPLES + "{{ n.l in {} }}",
    "upper in a loop": _TURNS + "{% set y = x | upper %}{% endfor %}",
    "cut in a loop": _TURNS + "{% set y = x[1:] %}{% endfor %}",
    "search in a loop": _TURNS + "{{ 'b' in x }}{% endfor %}",
    "count in a loop": _TURNS + "{% set y = x.count('b') %}{% endfor %}",
    "list in a loop": "{% for i in range(100000) %}{% set y = range(100000) | list %}{% endfor %}",
    "sum of lists": "{{ ([[1]] * 100000) | sum(start=[]) | length }}",
    "bytes of a number": "{{ (5).to_bytes(4000000000, 'big') | length }}",
    "large number": "{{ 7 // ('f' * 7999999) | int(0, 16) }}",
    "precise number": "{{ 2 | round(8000000, 'ceil') }}",
}


@pytest.mark.parametrize("source", _ENDLESS.values(), ids=_ENDLESS.keys())
def test_it_is_refused_before_it_takes_time_or_memory(source: str) -> None:
    renderer = compile_template(source)
    # Time of this thread alone: the machine may be busy with other things.
    started = time.thread_time()
    with pytest.raises(TemplateProblem) as caught:
        renderer.render({})
    assert caught.value.fault is Fault.BOUNDS
    assert time.thread_time() - started < 5


@pytest.mark.parametrize("kind", ["join", "map", "concat", "replace", "indent", "list shown"])
def test_what_is_refused_was_not_made(kind: str) -> None:
    renderer = compile_template(_ENDLESS[kind])
    tracemalloc.start()
    try:
        with pytest.raises(TemplateProblem):
            renderer.render({})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400_000_000


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "{{ ', '.join(names) }} {{ names | join('+') }} {{ rows | join(',', 'n') }}",
            "a, b a+b 1,2",
        ),
        (
            "{{ names }} {{ {'k': names} }} {{ names | tojson }}",
            "['a', 'b'] {'k': ['a', 'b']} [\"a\", \"b\"]",
        ),
        ("{{ 'a' ~ 1 ~ names }}|{{ names[1:] }}|{{ 'abc'[:2] }}", "a1['a', 'b']|['b']|ab"),
        ("{{ names == ['a', 'b'] }} {{ 'a' in names }} {{ 3 not in [1, 2] }}", "True True True"),
        ("{{ 'a-b'.replace('-', '/') }} {{ 'a-b' | replace('-', '/', 1) }}", "a/b a/b"),
        ("{{ 'a\\nb' | indent(2) }} {{ 'a b c' | wordwrap(3) }}", "a\n  b a b\nc"),
        (
            "{{ '{} {x}'.format(1, x=2) }} {{ '%s-%d' % ('a', 2) }} {{ '%s' | format(5) }}",
            "1 2 a-2 5",
        ),
        ("{{ rows | map(attribute='n') | sum }} {{ [[1], [2]] | sum(start=[]) }}", "3 [1, 2]"),
        ("{{ rows | selectattr('n', 'gt', 1) | list | length }} {{ [2, 1] | sort }}", "1 [1, 2]"),
        (
            "{% set n = namespace(l=[]) %}{% for i in range(2000) %}{% set n.l = n.l + ['item'] %}"
            "{% endfor %}{{ n.l | length }}",
            "2000",
        ),
        (
            "{% for i in range(300) %}{{ (text | trim | upper)[:1] }}{% endfor %}",
            "X" * 300,
        ),
        ("{% set n = namespace(a=1) %}{% set n.b = n %}{{ n }}", "<Namespace>"),
        ("{{ 7 // 2 }} {{ 2.567 | round(1) }} {{ d.get('k') }} {{ d['k'] }}", "3 2.6 v v"),
    ],
)
def test_ordinary_use_of_lists_and_texts_is_as_ever(source: str, expected: str) -> None:
    given = {
        "names": ["a", "b"],
        "rows": [{"n": 1}, {"n": 2}],
        "text": " " + "x" * 50_000,
        "d": {"k": "v"},
    }
    assert compile_template(source).render(given) == expected


def test_the_words_of_an_error_do_not_quote_all_of_a_text() -> None:
    with pytest.raises(TemplateProblem) as caught:
        compile_template("{{ ('a' * 7999999) | filesizeformat }}").render({})
    assert len(str(caught.value)) < 1000
