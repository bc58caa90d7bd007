"""A service of one test: it answers each call as the test says, on the loopback, in a thread."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

CERTIFICATE = Path(__file__).with_name("models.example.pem")
"""Of `models.example` and 127.0.0.1, signed by itself, with its key; nobody trusts it."""

Play = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One call, and the means to answer it."""

    protocol_version = "HTTP/1.1"
    server: _Server
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def head(self, status: int = 200, /, kind: str = "text/event-stream", **headers: str) -> None:
        """Begin an answer of unknown length."""
        self.send_response(status)
        names = {"content_type": kind, "connection": "close", **headers}
        for name, value in names.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.close_connection = True

    def chunked(self) -> None:
        """Begin an answer in chunks."""
        self.head(transfer_encoding="chunked")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def events(self, *events: Any) -> None:
        """Server-sent events; texts as they are."""
        for event in events:
            data = event if isinstance(event, str) else json.dumps(event)
            self.wfile.write(f"data: {data}\n\n".encode())
            self.wfile.flush()

    def lines(self, *values: Any) -> None:
        """A JSON value a line."""
        for value in values:
            self.wfile.write(json.dumps(value).encode() + b"\n")
            self.wfile.flush()

    def whole(
        self, status: int, body: Any, /, kind: str = "application/json", **headers: str
    ) -> None:
        """A whole answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head(status, kind=kind, content_length=str(len(data)), **headers)
        self.wfile.write(data)

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.service.requests.append(self)
        try:
            self.server.service.play(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_CONNECT(self) -> None:
        """As a proxy: what is behind it is this service again, with its certificate."""
        self.server.service.tunnels.append(dict(self.headers) | {"path": self.path})
        self.send_response(200)
        self.end_headers()
        self.connection = _tls().wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)  # type: ignore[assignment]
        self.handle_one_request()
        self.close_connection = True
        for each in (self.rfile, self.wfile, self.connection):
            each.close()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    service: Service

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A program that was ended is no fault of the service."""


class Service:
    """`with Service(play) as service`: listens at `service.url` until the end."""

    def __init__(self, play: Play, *, tls: bool = False) -> None:
        self.play = play
        self.requests: list[Request] = []
        """All calls, in order."""
        self.tunnels: list[dict[str, str]] = []
        """Headers and path of every CONNECT."""
        self.enough = threading.Event()
        """Set at the end: a slow answer waits for it."""
        self._server = _Server(("127.0.0.1", 0), Request)
        self._server.service = self
        if tls:
            self._server.socket = _tls().wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        run = lambda: self._server.serve_forever(poll_interval=0.01)  # noqa: E731
        self._thread = threading.Thread(target=run, name="service")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


# --- answers --------------------------------------------------------------------------------------


def said(*words: str, why: str = "end_turn") -> list[dict[str, Any]]:
    """An answer of Anthropic as events: 100 tokens read, 20 of them from a cache, 3 more written to
    it; 7 written."""
    usage = {
        "input_tokens": 77,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 3,
        "output_tokens": 1,
    }
    message = {"id": "msg_1", "type": "message", "model": "m-1", "content": [], "usage": usage}
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": word},
            }
            for word in words
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": why}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]


def chunks(*words: str, why: str = "stop") -> list[Any]:
    """The same of OpenAI: 100 tokens read, 20 of them cached; 7 written, 2 of them thoughts."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    head = {"id": "chat_1", "model": "m-1"}
    return [
        *({**head, "choices": [{"index": 0, "delta": {"content": word}}]} for word in words),
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": why}]},
        {**head, "choices": [], "usage": usage},
        "[DONE]",
    ]


def lines(*words: str, why: str = "stop") -> list[dict[str, Any]]:
    """The same of Ollama: 100 tokens read, 7 written."""
    counts = {"prompt_eval_count": 100, "eval_count": 7}
    end = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": why}
    pieces = [{"message": {"role": "assistant", "content": word}, "done": False} for word in words]
    return [{"model": "m-1", **each} for each in (*pieces, {**end, **counts})]
