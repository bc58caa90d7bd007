"""A stand-in for the services of models: the real programs play whole turns against it, without a net.

It listens on the loopback alone, on a port that the system chooses. What it answers is scripted by the
test: see `turns`. Programs also call their models for themselves, to find a title or to choose a model;
those calls offer no tools, get a short answer, use no tokens, and stand outside the script.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.real_cli.dialects import DIALECTS, NOTHING, Dialect, Used
from tests.real_cli.tools import Call, call_to_write, offered
from tests.real_cli.turns import Refuse, Say, Turn, WriteFile

Json = dict[str, Any]


class StandIn:
    """A service for one test: `with StandIn(WriteFile("a", "b"), Say()) as service`."""

    def __init__(
        self,
        *turns: Turn,
        without_tools: Callable[[WriteFile], str] | None = None,
    ) -> None:
        """The first call of the script gets the first turn, later ones the next; the last one stays.

        `without_tools`: how a program that has no tools is told to write a file, in words; then its
        calls without tools are of the script too.
        """
        self._turns = turns or (Say(),)
        self._told = without_tools
        self._lock = threading.Lock()
        self.calls: list[str] = []
        """Path and kind of every call, in order."""
        self.played = 0
        """How many calls were of the script."""
        self.faults: list[BaseException] = []
        """What went wrong in the stand-in itself."""
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.service = self
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        run = lambda: self._server.serve_forever(poll_interval=0.05)  # noqa: E731
        self._thread = threading.Thread(target=run, name="stand-in")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for turn in self._turns:
            if enough := getattr(turn, "enough", None):
                enough.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer_with(self, *turns: Turn) -> None:
        """From now on the script is another one, from its first turn on."""
        with self._lock:
            self._turns, self.played = turns, 0

    def answer(self, path: str, request: Json) -> tuple[Turn, Used, Call | None]:
        """What this call gets: its turn, what it uses, and the call of a tool where it is one."""
        main = self._told is not None or any(True for _ in offered(request))
        with self._lock:
            self.calls.append(f"{path.partition('?')[0]} {'script' if main else 'aside'}")
            turn = self._turns[min(self.played, len(self._turns) - 1)]
            # A service that refuses refuses all that comes.
            if not main:
                return (turn if isinstance(turn, Refuse) else Say("A title")), NOTHING, None
            self.played += 1
        if isinstance(turn, WriteFile):
            if self._told is not None:
                return Say(self._told(turn)), Used(), None
            return turn, Used(), call_to_write(request, turn.path, turn.content)
        return turn, Used(), None


class _Server(ThreadingHTTPServer):
    service: StandIn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A program that was ended in mid-turn is no fault; nothing is printed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [], "models": []})

    def do_HEAD(self) -> None:
        self._send(200, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        dialect = next((known for known in DIALECTS if known.path in self.path), None)
        if dialect is None or "count_tokens" in self.path or "countTokens" in self.path:
            self._send(200, {"input_tokens": 1, "totalTokens": 1})
            return
        try:
            self._play(dialect, json.loads(body))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as fault:
            self.server.service.faults.append(fault)
            raise

    def _play(self, dialect: Dialect, request: Json) -> None:
        turn, used, call = self.server.service.answer(self.path, request)
        if isinstance(turn, Refuse):
            self._send(turn.status, dialect.refusal(turn), dict(turn.headers))
            return
        pieces: Iterable[str] = () if isinstance(turn, WriteFile) else turn.pieces()
        if not dialect.wants_stream(self.path, request):
            self._send(200, dialect.document(request, call or "".join(pieces), used))
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for name, data in dialect.stream(request, call or pieces, used):
            text = data if isinstance(data, str) else json.dumps(data)
            head = f"event: {name}\n" if name else ""
            self.wfile.write(f"{head}data: {text}\n\n".encode())
            self.wfile.flush()
        self.close_connection = True

    def _send(self, status: int, body: Json, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
