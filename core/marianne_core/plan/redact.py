"""Black out credentials in texts that go from one agent to another (field reference, section 2.8)."""

from __future__ import annotations

import regex

LONGEST = 256
"""Characters after which a credential that begins in a text is recognised for sure."""

_BEFORE = "[A-Za-z0-9_-]"
"""What may not stand before a credential: it would be a part of something longer."""


def _shape(start: str, rest: str) -> str:
    """A credential's expression. Its first letters come before all else, so that they are what a
    search runs along the text for; a text without them costs next to nothing."""
    return rf"{start}(?<!{_BEFORE}{start}){rest}"


_SHAPES = (
    _shape("sk-", r"(?:ant-[\w-]{16,}|proj-[\w-]{16,}|[A-Za-z0-9]{40,})"),  # Anthropic, OpenAI
    _shape("AIzaSy", r"[\w-]{20,}"),  # Google
    _shape("A[KS]IA", r"[A-Z0-9]{16}"),  # AWS
    _shape("gh[opsur]_", r"[A-Za-z0-9]{20,}"),  # GitHub
    _shape("github_pat_", r"\w{20,}"),
    _shape("xox[abprs]-", r"[A-Za-z0-9-]{10,}"),  # Slack
    _shape("xapp-", r"[A-Za-z0-9-]{10,}"),
    _shape("hf_", r"[A-Za-z0-9]{20,}"),  # Hugging Face
    r"(?P<bearer>Bearer(?<!\wBearer)\s+)[A-Za-z0-9._~+/-]{20,}=*",
)
_CREDENTIALS = regex.compile("|".join(_SHAPES), regex.ASCII)

_LARGE = 50_000
"""Characters that take a millisecond or two."""

MARK = "[REDACTED]"


def redact(text: str) -> str:
    """The text with every credential of a known shape replaced by a mark."""
    # The interpreter is free meanwhile, so a large text in a thread never holds up an event loop.
    return _CREDENTIALS.sub(_marked, text, concurrent=len(text) > _LARGE)


def _marked(match: regex.Match[str]) -> str:
    return (match["bearer"] or "") + MARK
