"""Output of sheets as the protocol carries it; bytes travel in base64."""

from __future__ import annotations

import base64
from typing import Any

from marianne_core.model.output import OutputEnd, OutputPage, OutputPiece, OutputRequest
from marianne_core.serve.protocol import RequestId, encode
from marianne_core.serve.wire import END_METHOD, PIECE_METHOD


def params_of(request: OutputRequest, *, follow: bool) -> dict[str, Any]:
    """The parameters of `job.output`."""
    return {
        "job_id": request.job,
        "sheet": request.sheet,
        "attempt": request.attempt,
        "stream": "stderr" if request.stderr else "stdout",
        "raw": request.raw,
        "offset": request.offset,
        "before": request.before,
        "lines": request.lines,
        "limit": request.limit,
        "follow": follow,
    }


def page_to_wire(request: OutputRequest, page: OutputPage) -> dict[str, Any]:
    """The result of `job.output`."""
    return {
        "job_id": page.job_id,
        "run": page.run,
        "sheet": page.sheet,
        "stream": "stderr" if request.stderr else "stdout",
        "attempts": page.attempts,
        "size": page.size,
        "over": page.over,
        **_piece_to_wire(page.piece, raw=request.raw),
    }


def page_from_wire(result: dict[str, Any]) -> OutputPage:
    """The page in a result. Raises KeyError, TypeError or ValueError for what is none."""
    return OutputPage(
        job_id=str(result["job_id"]),
        run=int(result["run"]),
        sheet=int(result["sheet"]),
        attempts=int(result["attempts"]),
        size=int(result["size"]),
        over=bool(result["over"]),
        piece=piece_from_wire(result),
    )


def encode_piece(request_id: RequestId, piece: OutputPiece, *, raw: bool) -> bytes:
    """The notification that carries a piece; `id` is that of the request."""
    params = {"id": request_id, **_piece_to_wire(piece, raw=raw)}
    return encode({"jsonrpc": "2.0", "method": PIECE_METHOD, "params": params})


def encode_end(request_id: RequestId, end: OutputEnd) -> bytes:
    """The notification that ends a stream."""
    params = {"id": request_id, "status": end.status, "reason": end.reason}
    return encode({"jsonrpc": "2.0", "method": END_METHOD, "params": params})


def encode_broken(request_id: RequestId, error: dict[str, Any]) -> bytes:
    """The notification that ends a stream which cannot go on; `error` as in an answer."""
    params = {"id": request_id, "error": error}
    return encode({"jsonrpc": "2.0", "method": END_METHOD, "params": params})


def piece_from_wire(params: dict[str, Any]) -> OutputPiece:
    """The piece in a notification or a page. Raises KeyError, TypeError or ValueError."""
    return OutputPiece(
        attempt=int(params["attempt"]),
        offset=int(params["offset"]),
        end=int(params["end"]),
        text=str(params.get("text") or ""),
        data=base64.b64decode(params.get("data") or "", validate=True),
    )


def end_from_wire(params: dict[str, Any]) -> OutputEnd:
    """How the sheet ended."""
    return OutputEnd(str(params["status"]), str(params.get("reason") or ""))


def _piece_to_wire(piece: OutputPiece, *, raw: bool) -> dict[str, Any]:
    told = {"attempt": piece.attempt, "offset": piece.offset, "end": piece.end}
    if raw:
        return {**told, "data": base64.b64encode(piece.data).decode("ascii")}
    return {**told, "text": piece.text}
