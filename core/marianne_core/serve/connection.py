"""One client's connection: many requests at once, answers in bounded buffers, streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Coroutine

from marianne_core.model.errors import MztError
from marianne_core.model.output import OutputStream
from marianne_core.serve.gate import Gate
from marianne_core.serve.lines import LineReader, TooLong
from marianne_core.serve.long_answers import LongResult, answer_in_parts, whole_answer
from marianne_core.serve.methods import (
    METHODS,
    STREAM,
    LongParams,
    OutputParams,
    StreamParams,
    parse_params,
)
from marianne_core.serve.output_wire import encode_broken, encode_end, encode_piece
from marianne_core.serve.protocol import (
    Request,
    RpcError,
    decode_request,
    encode_error,
    encode_event,
    encode_result,
)
from marianne_core.serve.service import Service
from marianne_core.serve.wire import MAX_MESSAGE, Code
from marianne_core.watch.bus import EventStream, Subscription

MAX_REQUESTS = 32
"""Requests of one connection under way at once; further ones stay unread until one is answered."""

MAX_STREAMS = 8
"""Streams of one connection at once: of events, and of output."""

_LINGER_SECONDS = 1.0

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())


class Connection:
    """Reads requests until the client stops sending, and answers every one of them.

    A client that shuts its sending side still gets the answers to what it asked; its streams end,
    since a client that is gone looks just the same.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        service: Service,
        gate: Gate,
    ) -> None:
        self._lines = LineReader(reader)
        self._writer = writer
        self._service = service
        self._gate = gate
        self._turn = asyncio.Lock()
        self._room = asyncio.Semaphore(MAX_REQUESTS)
        self._calls: set[asyncio.Task[None]] = set()
        self._streams: dict[asyncio.Task[None], EventStream | OutputStream] = {}
        self._reading: asyncio.Task[None] | None = None
        self._grace: float | None = None
        """Seconds for what is under way once `leave` was called; None before."""

    async def serve(self) -> None:
        """Speak with the client until it hangs up or `leave` was called."""
        self._reading = asyncio.create_task(self._read())
        if self._grace is not None:
            self._reading.cancel()
        try:
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                self._reading.result()
            if self._grace is None:
                await self._end_streams()
            await self._finish()
            self._writer.close()
            await self._writer.wait_closed()
        except OSError:
            _log.debug("connection.broken", exc_info=True)
        finally:
            # Whatever still waits in the buffer goes nowhere: a client that does not read must
            # not keep the connection.
            self._writer.transport.abort()
            await _cancel({self._reading, *self._calls})
            await self._end_streams()

    def leave(self, grace: float) -> None:
        """Read no more requests; commands and streams get `grace` seconds to end, then hang up."""
        self._grace = grace
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        try:
            await self._read_requests()
        except OSError:
            # The client broke off. What it asked for is carried out all the same.
            _log.debug("connection.broken", exc_info=True)

    async def _read_requests(self) -> None:
        while True:
            await self._room.acquire()
            try:
                line = await self._lines.read()
            except TooLong:
                self._room.release()
                what = f"a message has at most {MAX_MESSAGE // 2**20} MiB"
                await self._send(encode_error(RpcError(Code.INVALID_REQUEST, what)))
                continue
            except BaseException:
                self._room.release()
                raise
            if line is None:
                self._room.release()
                return
            task = asyncio.create_task(self._answer(line))
            self._calls.add(task)
            task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Only sending can raise here; the client is gone, and reading will find out.
            _log.debug("connection.answer_not_sent", exc_info=error)

    async def _finish(self) -> None:
        """Let commands and streams come to their end, for as long as there is time."""
        for stream in self._streams.values():
            if isinstance(stream, Subscription):
                stream.end()
            elif isinstance(stream, OutputStream):
                await stream.aclose()
        under_way = {*self._calls, *self._streams}
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=self._grace)
            await _cancel(late)

    async def _end_streams(self) -> None:
        streams = dict(self._streams)
        await _cancel(set(streams))
        for stream in streams.values():
            await stream.aclose()  # a task that had not begun has closed nothing

    async def _answer(self, line: bytes) -> None:
        request = Request("")
        try:
            request = decode_request(line)
            async with contextlib.aclosing(self._carry_out(request)) as replies:
                async for reply in replies:
                    if request.wants_reply:
                        await self._send(reply)
        except RpcError as refusal:
            refusal.request_id = request.id if request.method else refusal.request_id
            if request.wants_reply:
                await self._send(encode_error(refusal))

    async def _carry_out(self, request: Request) -> AsyncGenerator[bytes]:
        """The answer to a request, in one message or more. Raises RpcError for every refusal."""
        try:
            if request.method == STREAM:
                await self._open_stream(request)
                return
            method = METHODS.get(request.method)
            if method is None:
                raise RpcError(
                    Code.METHOD_NOT_FOUND,
                    f"there is no method {request.method!r:.100}",
                    data={"method": request.method[:1000]},
                )
            params = parse_params(method.params, request.params)
            if isinstance(params, OutputParams) and params.follow:
                await self._open_output(request, params)
                return
            with self._gate.passing() if method.changes else contextlib.nullcontext():
                result = await method.call(self._service, params)
            if not isinstance(result, LongResult):
                yield encode_result(request.id, result)
            elif isinstance(params, LongParams) and params.parts:
                async for line in answer_in_parts(request.id, result):
                    yield line
            else:
                yield await whole_answer(request.id, result)
        except RpcError:
            raise
        except MztError as error:
            raise RpcError.of(error) from error
        except asyncio.CancelledError:
            if self._grace is None:
                raise
            raise RpcError(Code.LEAVING, "the conductor is shutting down") from None
        except Exception as error:
            _log.exception("connection.method_failed", extra={"method": request.method[:100]})
            what = f"the conductor failed at {request.method!r:.100}: {type(error).__name__}"
            hint = "the conductor's log has the details"
            raise RpcError(Code.INTERNAL, what, data={"what": what, "hint": hint}) from error

    async def _open_stream(self, request: Request) -> None:
        params = parse_params(StreamParams, request.params)
        self._check_room()
        events = await self._service.events(params.job_id)
        self._start(events, self._stream(request, events))

    async def _open_output(self, request: Request, params: OutputParams) -> None:
        self._check_room()
        pieces = await self._service.follow_output(params.request())
        self._start(pieces, self._tell_output(request, pieces, raw=params.raw))

    def _check_room(self) -> None:
        if len(self._streams) >= MAX_STREAMS:
            raise RpcError(Code.EXHAUSTED, f"more than {MAX_STREAMS} streams on one connection")

    def _start(
        self, stream: EventStream | OutputStream, telling: Coroutine[object, object, None]
    ) -> None:
        task = asyncio.create_task(telling)
        self._streams[task] = stream
        task.add_done_callback(self._stream_ended)

    async def _tell_output(self, request: Request, pieces: OutputStream, *, raw: bool) -> None:
        """One piece after the other, each when the client has taken those before: it may be slow."""
        try:
            if request.wants_reply:
                await self._send(encode_result(request.id, {"following": True}))
            async for piece in pieces:
                await self._send(encode_piece(request.id, piece, raw=raw))
            if pieces.outcome is not None:
                await self._send(encode_end(request.id, pieces.outcome))
        except MztError as error:
            refusal = RpcError.of(error)
            told = {"code": int(refusal.code), "message": refusal.message, "data": refusal.data}
            await self._send(encode_broken(request.id, told))
        finally:
            await pieces.aclose()

    async def _stream(self, request: Request, events: EventStream) -> None:
        try:
            if request.wants_reply:
                await self._send(encode_result(request.id, {"subscribed": True}))
            async for event in events:
                await self._send(encode_event(event))
        finally:
            await events.aclose()

    def _stream_ended(self, task: asyncio.Task[None]) -> None:
        self._streams.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
            _log.log(level, "connection.stream_failed", exc_info=error)

    async def _send(self, line: bytes) -> None:
        """Write one message; waits while the client does not read what it already has."""
        async with self._turn:
            self._writer.write(line)
            await self._writer.drain()


async def refuse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, refusal: RpcError
) -> None:
    """Tell a client why it is not served, and hang up once it has had time to read it.

    Closing at once would break the client's sending, and it would never look at the reason.
    """
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            writer.write(encode_error(refusal))
            await writer.drain()
            writer.write_eof()
            while await reader.read(65536):
                pass
    except OSError:
        _log.debug("connection.refusal_not_read", exc_info=True)
    finally:
        writer.transport.abort()


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
