"""One request over HTTP: proxies, certificates, redirects, refusals."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from email.utils import mktime_tz, parsedate_tz
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from marianne_core.ask.address import IN_PATH, Address
from marianne_core.ask.trouble import ANSWER, LATE, LOST, STATUS, UNREACHABLE, Trouble

_CONNECT_SECONDS = 30.0
"""Longest time until a connection is there."""
_LAST_SECONDS = 10.0
"""Longest time for what may follow the end of an answer, and for the words of a refusal."""
_MOST_REDIRECTS = 3
_ERROR_BYTES = 64 * 1024
"""How much of a refusal is read."""
_PIECE = 64 * 1024


class Proxy(NamedTuple):
    """What stands between us and the service."""

    host: str
    port: int
    headers: Mapping[str, str]
    """What it wants to be told: user and password, if the variable has them."""


class Call:
    """One request and its answer."""

    def __init__(self, address: Address, headers: Mapping[str, str], seconds: float) -> None:
        """`seconds`: longest silence of the service."""
        self._address = address
        self._headers = dict(headers)
        self._seconds = seconds
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._until: float | None = None
        self.over = False
        """Set when the answer is complete: what may follow is not waited for long."""

    def ask(self, body: bytes) -> http.client.HTTPResponse:
        """Send the request; the answer, of which only the head is read. Raises Trouble."""
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._ask_once(body)
            if response.status not in (307, 308):
                return response
            self._address = self._redirected(response)
            self.close()
        raise Trouble(f"{STATUS}{response.status}: the service redirects again and again")

    def pieces(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """The bytes of an answer as they come. Raises Trouble when the connection breaks."""
        yield from unpacked(self._pieces(response), response.headers.get("content-encoding", ""))

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            while data := response.read1(_PIECE):
                yield data
                if self.over and not self._hurries():
                    return
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
        except TimeoutError as error:
            if not self.over:
                raise Trouble(f"{LATE}{self._seconds:g} s: the service fell silent") from error
        except (OSError, http.client.HTTPException) as error:
            if not self.over:
                raise Trouble(f"{ANSWER}was cut: {_words(error)}") from error

    def refused(self, response: http.client.HTTPResponse) -> bytes:
        """The beginning of a refusal's body, as far as it comes: its status says enough, and what to
        do about it must not wait for a body that has no end."""
        data = b""
        with suppress(OSError, http.client.HTTPException):
            while self._hurries() and (more := response.read1(_PIECE)):
                data += more
                if len(data) >= _ERROR_BYTES:
                    break
        encoding = response.headers.get("content-encoding", "")
        try:
            return b"".join(unpacked([data], encoding))[:_ERROR_BYTES]
        except Trouble as trouble:
            return trouble.words.encode()

    def _hurries(self) -> bool:
        """Give what is read from the first such call on a few seconds together; False when they are
        over."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + min(_LAST_SECONDS, self._seconds)
        if self._until <= now:
            return False
        if self._socket is not None:
            self._socket.settimeout(self._until - now)
        return True

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()

    def _ask_once(self, body: bytes) -> http.client.HTTPResponse:
        address = self._address
        connection, path = _connection(address, self._headers)
        self._connection = connection
        connection.timeout = min(_CONNECT_SECONDS, self._seconds)
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            raise Trouble(f"{UNREACHABLE}{address.origin}: {_words(error)}") from error
        self._socket = connection.sock
        _keep_alive(connection.sock)
        connection.sock.settimeout(self._seconds)
        try:
            # It may have said why before it hung up.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", path, body, self._headers)
            return connection.getresponse()
        except TimeoutError as error:
            raise Trouble(f"{LATE}{self._seconds:g} s from {address.origin}") from error
        except http.client.HTTPException as error:
            if isinstance(error, http.client.RemoteDisconnected):
                raise Trouble(f"{LOST}to {address.origin} before an answer came") from error
            raise Trouble(f"{ANSWER}of {address.origin} is no HTTP: {_words(error)}") from error
        except OSError as error:
            raise Trouble(f"{LOST}to {address.origin}: {_words(error)}") from error

    def _redirected(self, response: http.client.HTTPResponse) -> Address:
        """The same service under another path. Raises Trouble for any other: it would get the key."""
        location = response.headers.get("location", "")
        try:
            target = urlsplit(urljoin(str(self._address), location))
            port = target.port or {"http": 80, "https": 443}[target.scheme]
        except (ValueError, KeyError):
            raise redirect(response) from None
        old = self._address
        if (target.scheme, target.hostname, port) != (old.scheme, old.host, old.port):
            raise redirect(response)
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        # Headers come byte for byte; some services write other letters than ASCII into this one.
        return old._replace(path=quote(path.encode("latin-1", "replace"), safe=IN_PATH))


def unpacked(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The bytes of an answer that comes compressed, as some gateways send it though nobody asked for
    that. Raises Trouble for what cannot be unpacked."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        yield from pieces
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Trouble(f"{ANSWER}is compressed ({encoding}), and nobody asked for that")
    import zlib  # seldom needed

    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either of both, by its first bytes
    try:
        for piece in pieces:
            yield unpack.decompress(piece)
    except zlib.error as error:
        raise Trouble(f"{ANSWER}says that it is compressed ({encoding}) and is not") from error


def redirect(response: http.client.HTTPResponse) -> Trouble:
    """A redirect that is not followed: the key and the prompt are for the service that was asked."""
    try:
        target = urlsplit(response.headers.get("location", ""))
    except ValueError:
        target = urlsplit("")
    place = f"{target.scheme}://{target.hostname}" if target.hostname else target.path or "nowhere"
    words = f"{STATUS}{response.status}: the service redirects to {place}, which is not asked"
    return Trouble(words, status=response.status)


def refusal(response: http.client.HTTPResponse, words: str) -> Trouble:
    """A status that is no success, with what its body says."""
    wait = retry_after(response.headers, time.time())
    again = "" if wait is None else f" (retry after {wait} s)"
    head = f"{STATUS}{response.status}"
    return Trouble(f"{head}: {words}{again}", status=response.status, retry_after=wait)


def retry_after(headers: Any, now: float) -> int | None:
    """Seconds until the service may be asked again: the header has them, or a date."""
    value = str(headers.get("retry-after") or "").strip()
    date = parsedate_tz(value) if value else None
    try:
        seconds = float(value) if date is None else mktime_tz(date) - now
        return max(0, -int(-seconds // 1)) if seconds < 1e9 else None
    except (ValueError, OverflowError):
        return None


def _connection(
    address: Address, headers: dict[str, str]
) -> tuple[http.client.HTTPConnection, str]:
    """A connection that is not open yet, and how the call is named on it."""
    proxy = _proxy_for(address)
    if address.scheme == "https":
        context = _certificates()
        if proxy is None:
            return http.client.HTTPSConnection(
                address.host, address.port, context=context
            ), address.path
        tunnel = http.client.HTTPSConnection(proxy.host, proxy.port, context=context)
        tunnel.set_tunnel(address.host, address.port, dict(proxy.headers))
        return tunnel, address.path
    if proxy is None:
        return http.client.HTTPConnection(address.host, address.port), address.path
    headers.update(proxy.headers)
    return http.client.HTTPConnection(proxy.host, proxy.port), address.origin + address.path


def _certificates() -> ssl.SSLContext:
    """The system's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR, and those that other
    programs are told of."""
    context = ssl.create_default_context()
    for name in ("REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        path = os.environ.get(name, "")
        if os.path.isfile(path):
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError) as error:
                raise Trouble(f"{UNREACHABLE}anything: {name} {path}: {_words(error)}") from error
    return context


def _proxy_for(address: Address) -> Proxy | None:
    """The proxy that the environment names for this address; none for this machine itself."""
    here = address.host in ("localhost", "::1") or address.host.startswith("127.")
    if here or not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib import request  # it takes long to load

    proxies = request.getproxies_environment()
    url = proxies.get(address.scheme) or proxies.get("all")
    place = f"{address.host}:{address.port}"
    if not url or request.proxy_bypass_environment(place, proxies):  # type: ignore[attr-defined]
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host = (parts.hostname or "").encode("idna").decode()
        port = parts.port or 80
    except ValueError as error:
        # Without its words: a password with a `/` in it is taken for a port.
        raise Trouble(f"{UNREACHABLE}the proxy: its address cannot be read") from error
    if parts.scheme != "http" or not host:
        raise Trouble(f"{UNREACHABLE}the proxy: it must look like http://host:port")
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return Proxy(host, port, headers)


def _keep_alive(connected: socket.socket) -> None:
    """Notice a service that is gone while the model thinks: after some two minutes."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        option = getattr(socket, name, None)
        if option is not None:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); see SSL_CERT_FILE"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended in the middle of it"
    if isinstance(error, socket.gaierror):
        return f"name look-up failed ({error.strerror})"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__
