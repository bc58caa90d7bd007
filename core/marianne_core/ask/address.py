"""Where the service is: the profile's address, the score's, or that of the service's own variable."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, urlsplit

from marianne_core.ask.trouble import Trouble

_SLASH = "/"
IN_PATH = "/%:@!$&'()*+,;=~?"
"""What stands in the path and query of a call as it is."""


class Address(NamedTuple):
    """One call of a service."""

    scheme: str
    """http or https."""
    host: str
    port: int
    path: str
    """Of the call, with its query if there is one."""

    @property
    def origin(self) -> str:
        """The service, as people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme] == self.port
        return f"{self.scheme}://{host}" + ("" if usual else f":{self.port}")

    def __str__(self) -> str:
        return self.origin + self.path.partition("?")[0]


def address_of(
    profile: str, endpoint: str, *, score: str = "", variable: str = "", ollama: bool = False
) -> Address:
    """The address of a call.

    `score` (a score's `base_url`) goes before `variable` (the value of the service's own variable,
    such as OPENAI_BASE_URL), and that before the profile's. Raises Trouble for what is no address.
    """
    given = score or (ollama_host(variable) if ollama else variable)
    return _joined((given or profile).strip(), endpoint, given=bool(given))


def _joined(base: str, endpoint: str, *, given: bool) -> Address:
    """`base` with the path of the call behind it; a version that both name stands there once.

    Where a person gave the base it has its version in it if it has a path at all, as the services'
    own programs expect: `https://host/v1`, `https://host/some/path`.
    """
    parts = _split(base)
    path = parts.path.rstrip(_SLASH)
    first, _, rest = endpoint.lstrip(_SLASH).partition(_SLASH)
    versioned = first[:1] == "v" and first[1:2].isdigit() and bool(rest)
    same = path.rpartition(_SLASH)[2] == first
    if versioned and path and (same or (given and rest.endswith("chat/completions"))):
        endpoint = rest
    return Address(
        parts.scheme,
        parts.hostname or "",
        parts.port or {"http": 80, "https": 443}[parts.scheme],
        quote(f"{path}/{endpoint.lstrip(_SLASH)}", safe=IN_PATH)
        + (f"?{parts.query}" if parts.query else ""),
    )


class _Split(NamedTuple):
    scheme: str
    hostname: str
    port: int | None
    path: str
    query: str


def _split(url: str) -> _Split:
    # Not the address itself: there may be a password in it.
    what = "the address of the service"
    if any(ord(each) <= 32 or ord(each) == 127 for each in url):
        raise Trouble(f"{what} has blanks or control characters in it")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError as error:
        # Without its words: a password with a `/` in it is taken for a port.
        raise Trouble(f"{what} cannot be read: its host or port is none") from error
    if parts.scheme not in ("http", "https") or not host:
        raise Trouble(f"{what} must look like https://host or http://host:port")
    if parts.username or parts.password:
        raise Trouble(f"{what} {host} has a user or password in it: keys come from the environment")
    return _Split(parts.scheme, host, port, parts.path, parts.query)


def ollama_host(value: str) -> str:
    """OLLAMA_HOST as an address, as Ollama's own program reads it: `host`, `host:port`, `:port`, or an
    address. "" for an empty one."""
    text = value.strip().strip("\"'")
    if not text:
        return ""
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
    usual = {"http": 80, "https": 443}.get(scheme, 11434) if found else 11434
    place, slash, path = rest.partition(_SLASH)
    host, port = place, ""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    # Where a server listens everywhere it is asked here.
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port or usual}{slash}{path}"
