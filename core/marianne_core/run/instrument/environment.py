"""The environment of an instrument: what it inherits, what its profile adds, what is kept back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import regex

SYSTEM = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LC_ALL", "LC_CTYPE"),
        *("TMPDIR", "TMP", "TEMP"),
        *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"),
    }
)
"""What every program gets, whatever its profile says (field reference, section 3.4)."""

_NETWORK = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"),
)
NETWORK = frozenset({*_NETWORK, *(name.lower() for name in _NETWORK)})
"""How the machine reaches the net: without these an agent behind a proxy or gateway is cut off."""

OURS = frozenset({"MARIANNE_HOME"})
"""An agent that calls `mzt` must find the conductor it runs under, not another one."""

_REFERENCE = regex.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables of one instrument, and what happened to get there."""

    variables: Mapping[str, str]
    """What the program is started with."""
    removed: tuple[str, ...] = ()
    """Names that the profile's `required_env` kept back, sorted."""
    unset: tuple[str, ...] = ()
    """Names that the profile refers to as `${NAME}` and that are not set, sorted."""

    def notes(self) -> tuple[str, ...]:
        """What a person may want to know about it, one line each; values are never shown."""
        notes = []
        if self.removed:
            notes.append(f"kept back by required_env: {', '.join(self.removed)}")
        if self.unset:
            notes.append(f"named by the profile and not set: {', '.join(self.unset)}")
        return tuple(notes)


def build_environment(
    base: Mapping[str, str],
    *,
    required: Iterable[str] | None = None,
    added: Mapping[str, str] | None = None,
) -> Environment:
    """The environment of an instrument (field reference, section 3.4).

    `base` is the conductor's own environment. `required` is the profile's `required_env`: None
    passes everything on; a list passes the system's, the network's and the listed variables
    (`AWS_*` names a family). `added` is the profile's `env`, with `${NAME}` replaced from `base`;
    a variable whose whole value is one `${NAME}` that is not set is left out, so that a program
    sees "no key" and not an empty one. Git never waits for a password that nobody can type.
    """
    variables = dict(base)
    removed: list[str] = []
    if required is not None:
        wanted = tuple(required)
        removed = sorted(name for name in base if not _passes(name, wanted))
        for name in removed:
            del variables[name]
    variables.setdefault("GIT_TERMINAL_PROMPT", "0")
    unset: set[str] = set()
    for name, value in (added or {}).items():
        missing = {ref for ref in _REFERENCE.findall(value) if ref not in base}
        unset |= missing
        if missing and _REFERENCE.fullmatch(value):
            variables.pop(name, None)
        else:
            variables[name] = _REFERENCE.sub(lambda match: base.get(match[1], ""), value)
    return Environment(variables, tuple(removed), tuple(sorted(unset)))


def _passes(name: str, wanted: tuple[str, ...]) -> bool:
    return (
        name in SYSTEM
        or name in NETWORK
        or name in OURS
        or any(name == want or ("*" in want and fnmatchcase(name, want)) for want in wanted)
    )
