"""The key of a service, from the one variable of the environment that holds it."""

from __future__ import annotations

from collections.abc import Mapping

from marianne_core.ask.trouble import NO_KEY, Trouble


def key_in(variable: str, environ: Mapping[str, str]) -> str:
    """The key; "" where none is wanted. Raises Trouble for none, or one that no header can carry. Its
    value is never told."""
    if not variable:
        return ""
    key = environ.get(variable, "").strip()
    if not key:
        raise Trouble(f"{NO_KEY}the environment variable {variable} is not set")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise Trouble(f"{NO_KEY}the value of {variable} has characters that no key has")
    return key
