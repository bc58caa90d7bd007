"""One turn: read the prompt, ask the service, print what comes.

Exit status 0 for a whole answer, 1 for a failure; the last event says the same. It never asks twice:
when to try again is the conductor's decision.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from marianne_core import __version__
from marianne_core.ask.address import address_of
from marianne_core.ask.families import FAMILIES, Family, words_of
from marianne_core.ask.key import key_in
from marianne_core.ask.report import Report
from marianne_core.ask.stream import read_answer
from marianne_core.ask.trouble import Trouble
from marianne_core.ask.wire import Call, redirect, refusal

_OPTIONS = frozenset(
    {
        *("family", "profile-url", "endpoint", "url-variable", "key-variable", "official"),
        *("base-url", "model", "system", "timeout", "max-tokens", "max-output", "temperature"),
        *("num-ctx", "keep-alive"),
    }
)
_USUAL_SECONDS = "1800"
_AT_ITS_LONGEST = ("max_tokens", "length", "model_context_window_exceeded")
"""Why an answer ended that is as long as it may be, in the services' words."""


def main(arguments: Sequence[str]) -> int:
    """Play the turn that the arguments describe; its exit status."""
    # A turn that is interrupted leaves no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return play(arguments, sys.stdin.buffer.read(), os.environ, sys.stdout.buffer)


def play(
    arguments: Sequence[str], prompt: bytes, environ: Mapping[str, str], stream: BinaryIO
) -> int:
    """The same with all that it takes from its process, and the stream that gets the events."""
    report = Report(stream)
    try:
        status = _play(options_of(arguments), prompt, environ, report)
    except Trouble as trouble:
        report.failed(trouble)
        return 1
    report.done(status)
    if report.stop in _AT_ITS_LONGEST:
        print(f"the answer is as long as it may be and ends there ({report.stop})", file=sys.stderr)
    return 0


def options_of(arguments: Sequence[str]) -> dict[str, str]:
    """`--name value` pairs; the last of a name counts. Raises Trouble for anything else."""
    names, values = arguments[::2], arguments[1::2]
    for name in names:
        if name[:2] != "--" or name[2:] not in _OPTIONS:
            raise Trouble(f"an instrument behind HTTP takes no argument {name[:100]!r}")
    if len(names) != len(values):
        raise Trouble(f"{names[-1]} has no value")
    return {name[2:]: value for name, value in zip(names, values, strict=True)}


def _play(
    settings: Mapping[str, str], prompt: bytes, environ: Mapping[str, str], report: Report
) -> int:
    report.key = key = key_in(settings.get("key-variable", ""), environ)
    if "model" not in settings:
        raise Trouble("no model: the score must name one, its instrument has none of its own")
    family = FAMILIES[settings["family"]](report)
    address = address_of(
        settings["profile-url"],
        settings["endpoint"],
        score=settings.get("base-url", ""),
        variable=environ.get(settings.get("url-variable", ""), ""),
        ollama=settings["family"] == "ollama",
    )
    report.start(settings["model"], str(address))
    official = address.host == settings.get("official")
    body = family.body(prompt.decode("utf-8", "replace"), settings, official=official)
    headers = {
        "Content-Type": "application/json",
        "Accept": f"{family.accepts}, application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"marianne-tui/{__version__}",
        **family.headers(key),
    }
    call = Call(address, headers, float(settings.get("timeout", _USUAL_SECONDS)))
    try:
        return _answered(call, family, json.dumps(body).encode())
    finally:
        call.close()


def _answered(call: Call, family: Family, body: bytes) -> int:
    response = call.ask(body)
    family.report.request_id = response.headers.get("request-id") or response.headers.get(
        "x-request-id"
    )
    if 300 <= response.status < 400:
        raise redirect(response)
    if response.status != 200:
        raise refusal(response, _said(call.refused(response)))

    def take(part: dict[str, object]) -> None:
        family.take(part)
        call.over = family.complete

    by_line = family.accepts != "text/event-stream"
    kind = response.headers.get("content-type", "").lower()
    read_answer(call.pieces(response), kind, take, by_line=by_line)
    family.check_end()
    return response.status


def _said(body: bytes) -> str:
    """What the body of a refusal says, in one line."""
    text = body.decode("utf-8", "replace").strip()
    try:
        part = json.loads(text)
    except (ValueError, RecursionError):
        return " ".join(text.split())[:500] or "without a word"
    if isinstance(part, list) and part:
        part = part[0]
    if not isinstance(part, dict):
        return str(part)[:500]
    words, kinds = words_of(part)
    told = f" ({kinds[0]})" if kinds and kinds[0] not in words else ""
    return f"{words}{told}"
