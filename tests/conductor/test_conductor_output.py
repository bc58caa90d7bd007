"""What sheets write, asked of a conductor at its socket: pages, streams, retries, slow readers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from marianne_core.conductor import Conductor
from marianne_core.model.errors import JobSubmissionError, StateError
from marianne_core.model.output import OutputPiece, OutputRequest, OutputStream
from marianne_core.model.states import JobStatus
from marianne_core.read.dialects import formatter_of
from marianne_core.read.redact import MARK
from marianne_core.run import output_stream
from marianne_core.serve.server import SocketServer
from marianne_core.serve.socket_client import SocketClient
from marianne_tui.cli.picture import note
from tests.conductor.house import PATIENCE, House, settled, submit, until
from tests.serve.raw_client import RawClient

RECORDING = Path(__file__).resolve().parents[1] / "recordings" / "claude-code" / "write.out"
KEY = "sk-ant-api03-" + "Ab9_-" * 8
SINGER = """
raw_prompt: true
cli:
  command: {executable: "{program}"}
  output: {format: jsonl, dialect: claude}
"""
LINES = [
    "(claude-sonnet-5-5, permissions: bypassPermissions)",
    "[Write] out.txt",
    "  -> File created successfully at: out.txt"
    " (file state is current in your context — no need to Read it back)",
    "so far: 123 tokens in, 1 out",
    "The stub model says: done.",
    "done: 2 turns, 246 tokens in, 90 out, $0.0014",
]


class Hall:
    """A conductor, its socket, and a client of that."""

    def __init__(self, house: House, conductor: Conductor, path: Path) -> None:
        self.house = house
        self.conductor = conductor
        self.path = path

    async def play(self, script: str, text: str = "", **more: Any) -> None:
        """Start a score of one sheet that is a script."""
        await submit(self.conductor, self.house.score(text, script=script, **more))


@pytest.fixture
async def hall(house: House) -> AsyncIterator[Hall]:
    house.instrument(
        SINGER,
        name="singer",
        program=f"""
            head -n 2 {RECORDING}
            while [ ! -e go ]; do sleep 0.02; done
            tail -n +3 {RECORDING}
            """,
    )
    path = house.root / "run" / "mzt.sock"
    async with house.conductor() as conductor, SocketServer(path, conductor):
        yield Hall(house, conductor, path)
        await conductor.end_sheets()


@pytest.fixture
async def client(hall: Hall) -> AsyncIterator[SocketClient]:
    client = await SocketClient.connect(hall.path)
    yield client
    await client.close()


async def taken(pieces: OutputStream, enough: str) -> list[OutputPiece]:
    """Pieces until their text, or their bytes, hold this."""
    found: list[OutputPiece] = []
    async with asyncio.timeout(PATIENCE):
        async for piece in pieces:
            found.append(piece)
            if enough in text_of(found):
                return found
    raise AssertionError(f"{text_of(found)!r} has no {enough!r}")


def text_of(pieces: list[OutputPiece]) -> str:
    return "".join(piece.text + piece.data.decode() for piece in pieces)


async def rest_of(pieces: OutputStream) -> list[OutputPiece]:
    async with asyncio.timeout(PATIENCE):
        return [piece async for piece in pieces]


async def test_events_become_lines_while_the_agent_works(hall: Hall, client: SocketClient) -> None:
    await hall.play("sing", "instrument: singer")
    pieces = await client.follow_output(OutputRequest("song", 1))
    begun = await taken(pieces, "[Write]")
    assert text_of(begun).splitlines() == LINES[:2]
    hall.house.put("go")
    rest = await rest_of(pieces)
    assert text_of(begun + rest).splitlines() == LINES
    assert pieces.outcome is not None
    assert pieces.outcome.status == "completed"
    assert {piece.attempt for piece in begun + rest} == {1}


async def test_a_stream_goes_on_from_an_offset(hall: Hall, client: SocketClient) -> None:
    """Not with what can only be told of the whole."""
    await hall.play("sing", "instrument: singer")
    first = await client.follow_output(OutputRequest("song", 1))
    begun = await taken(first, "[Write]")
    await first.aclose()
    hall.house.put("go")
    second = await client.follow_output(OutputRequest("song", 1, offset=begun[-1].end))
    told = text_of(await rest_of(second)).splitlines()
    assert told == [line for line in LINES[2:] if not line.startswith("so far")]


async def test_bytes_are_those_of_the_file(hall: Hall, client: SocketClient) -> None:
    hall.house.put("go")
    await hall.play("sing", "instrument: singer")
    whole = RECORDING.read_bytes()
    pieces = await rest_of(await client.follow_output(OutputRequest("song", 1, raw=True)))
    assert b"".join(piece.data for piece in pieces) == whole
    assert [piece.offset for piece in pieces[1:]] == [piece.end for piece in pieces[:-1]]
    request = OutputRequest("song", 1, raw=True, offset=7)
    pieces = await rest_of(await client.follow_output(request))
    assert b"".join(piece.data for piece in pieces) == whole[7:]


RETRY = "retry: {max_retries: 2, base_delay_seconds: 0.01, jitter: false}"


async def test_a_stream_goes_from_attempt_to_attempt(hall: Hall, client: SocketClient) -> None:
    script = """
        echo try >> tries
        n=$(wc -l < tries)
        echo "this is try $n"
        while [ ! -e "go$n" ]; do sleep 0.02; done
        printf "no end of line at $n"
        [ "$n" = 3 ]
        """
    await hall.play(script, RETRY)
    pieces = await client.follow_output(OutputRequest("song", 1))
    found = await taken(pieces, "try 1")
    one = await client.follow_output(OutputRequest("song", 1, attempt=1))
    hall.house.put("go1")
    assert text_of(await rest_of(one)) == "this is try 1\nno end of line at 1"
    assert one.outcome is not None
    found += await taken(pieces, "try 2")
    hall.house.put("go2")
    found += await taken(pieces, "try 3")
    hall.house.put("go3")
    found += await rest_of(pieces)
    for number in (1, 2, 3):
        mine = [piece for piece in found if piece.attempt == number]
        assert text_of(mine) == f"this is try {number}\nno end of line at {number}"
        assert mine[0].offset == 0
    assert [piece.attempt for piece in found] == sorted(piece.attempt for piece in found)
    assert pieces.outcome is not None
    assert pieces.outcome.status == "completed"


async def test_a_sheet_that_has_not_begun_is_waited_for(hall: Hall, client: SocketClient) -> None:
    script = """
        {% if sheet_num == 1 %}while [ ! -e go ]; do sleep 0.02; done{% endif %}
        echo "sheet {{ sheet_num }}"
        """
    await hall.play(script, sheets=2)
    pieces = await client.follow_output(OutputRequest("song", 2))
    page = await client.output(OutputRequest("song", 2))
    assert (page.attempts, page.size, page.over, page.piece.text) == (0, 0, False, "")
    hall.house.put("go")
    assert text_of(await rest_of(pieces)) == "sheet 2\n"


async def test_what_is_followed_of_a_sheet_that_is_over(hall: Hall, client: SocketClient) -> None:
    await hall.play("echo out; echo err >&2; exit 3")
    await settled(hall.conductor)
    pieces = await client.follow_output(OutputRequest("song", 1, stderr=True))
    assert text_of(await rest_of(pieces)) == "err\n"
    assert pieces.outcome is not None
    assert pieces.outcome.status == "failed"
    assert "exit status 3" in pieces.outcome.reason


async def test_a_run_that_is_cleared_ends_its_streams(hall: Hall, client: SocketClient) -> None:
    await hall.play("echo out; exit 3")
    await settled(hall.conductor)
    request = OutputRequest("song", 1)
    pieces = await hall.conductor.follow_output(request)
    assert await client.clear(jobs=["song"]) == 1
    await rest_of(pieces)
    assert pieces.outcome is not None
    assert (pieces.outcome.status, pieces.outcome.reason) == ("", "the run was cleared")
    with pytest.raises(JobSubmissionError):
        await client.output(request)


async def test_escape_sequences_and_credentials_stay_here(hall: Hall, client: SocketClient) -> None:
    await hall.play(rf"printf 'a\033]0;title\007b\033[31mc {KEY[:20]}'; sleep 0.3; echo {KEY[20:]}")
    assert text_of(await rest_of(await client.follow_output(OutputRequest("song", 1)))) == (
        f"abc {MARK}\n"
    )
    assert (await client.output(OutputRequest("song", 1))).piece.text == f"abc {MARK}\n"
    raw = (await client.output(OutputRequest("song", 1, raw=True))).piece.data
    assert KEY.encode() in raw
    assert b"\x1b[31m" in raw


async def test_pages_go_over_the_whole_file_in_both_directions(
    hall: Hall, client: SocketClient
) -> None:
    await hall.play("seq 1 20000")
    await settled(hall.conductor)
    page = await client.output(OutputRequest("song", 1, lines=3))
    assert page.piece.text == "19998\n19999\n20000\n"
    assert page.piece.end == page.size
    texts, before = [page.piece.text], page.piece.offset
    while before:
        page = await client.output(OutputRequest("song", 1, before=before, limit=9000))
        assert page.piece.end == before
        texts.append(page.piece.text)
        before = page.piece.offset
    whole = "".join(f"{n}\n" for n in range(1, 20001))
    assert "".join(reversed(texts)) == whole
    texts, at = [], 0
    while at < page.size:
        page = await client.output(OutputRequest("song", 1, offset=at, limit=9000))
        assert page.piece.offset == at
        texts.append(page.piece.text)
        at = page.piece.end
    assert "".join(texts) == whole
    assert page.over


async def test_a_page_of_events_begins_anywhere(hall: Hall, client: SocketClient) -> None:
    hall.house.put("go")
    await hall.play("sing", "instrument: singer")
    await settled(hall.conductor)
    page = await client.output(OutputRequest("song", 1, lines=2))
    assert page.piece.text.splitlines() == LINES[-2:]
    earlier = await client.output(OutputRequest("song", 1, before=page.piece.offset, lines=2))
    assert earlier.piece.text.splitlines() == LINES[1:3]
    whole = await client.output(OutputRequest("song", 1, offset=0))
    assert whole.piece.text.splitlines() == LINES


async def test_a_file_that_cannot_be_read_is_named(hall: Hall, client: SocketClient) -> None:
    await hall.play("echo out")
    await settled(hall.conductor)
    run_dir = hall.house.home.run_dir(hall.house.row().run_id)
    (run_dir / "1.1.out").unlink()
    assert (await client.output(OutputRequest("song", 1))).size == 0
    (run_dir / "1.1.out").mkdir()
    with pytest.raises(StateError, match="cannot be read") as refusal:
        await client.output(OutputRequest("song", 1))
    assert refusal.value.where.endswith("1.1.out")
    pieces = await client.follow_output(OutputRequest("song", 1))
    with pytest.raises(StateError, match="cannot be read"):
        await rest_of(pieces)


async def test_on_the_wire(hall: Hall) -> None:
    await hall.play("echo one; echo two")
    await settled(hall.conductor)
    raw = await RawClient.connect(hall.path)
    base = {"job_id": "song", "sheet": 1}
    assert await raw.result("job.output", base) == {
        "job_id": "song",
        "run": 1,
        "sheet": 1,
        "stream": "stdout",
        "attempts": 1,
        "size": 8,
        "over": True,
        "attempt": 1,
        "offset": 0,
        "end": 8,
        "text": "one\ntwo\n",
    }
    page = await raw.result("job.output", {**base, "raw": True, "offset": 4})
    assert (page["data"], "text" in page) == (base64.b64encode(b"two\n").decode(), False)
    assert await raw.result("job.output", {**base, "follow": True}) == {"following": True}
    piece, end = await raw.receive(), await raw.receive()
    about = {"id": 3, "attempt": 1, "offset": 0, "end": 8, "text": "one\ntwo\n"}
    assert piece == {"jsonrpc": "2.0", "method": "output.piece", "params": about}
    told = {"id": 3, "status": "completed", "reason": ""}
    assert end == {"jsonrpc": "2.0", "method": "output.end", "params": told}
    for wrong in ({"limit": 0}, {"limit": 10**9}, {"stream": "x"}, {"offset": -1}, {"sheet": 0}):
        answer = await raw.ask("job.output", {**base, **wrong})
        assert answer["error"]["code"] == -32602, wrong
    answer = await raw.ask("job.output", {**base, "follow": True, "before": 3})
    assert answer["error"]["code"] == -32602
    # The connection is as good as before.
    assert (await raw.result("job.output", base))["size"] == 8
    raw.hang_up()


def open_files(folder: Path) -> int:
    found = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    return sum(name.startswith(str(folder)) and name.endswith(".out") for name in found)


MEGABYTES = 40


async def test_a_client_that_does_not_read_costs_nothing(hall: Hall) -> None:
    """It gets everything all the same, once it reads."""
    await hall.play(f"head -c {MEGABYTES}000000 /dev/zero | tr '\\0' x | fold -w 99")
    await settled(hall.conductor)
    params = {"job_id": "song", "sheet": 1, "raw": True, "follow": True}
    request = {"jsonrpc": "2.0", "id": 1, "method": "job.output", "params": params}
    with socket.socket(socket.AF_UNIX) as lazy, closing(lazy.makefile("rb")) as answers:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        lazy.connect(str(hall.path))
        lazy.sendall(json.dumps(request).encode() + b"\n")
        other = await SocketClient.connect(hall.path)
        for _ in range(50):
            assert (await other.status("song"))["status"] == JobStatus.COMPLETED
        await other.close()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 1024 * MEGABYTES / 4

        def size_of_all() -> int:
            size = 0
            while (message := json.loads(answers.readline())).get("method") != "output.end":
                size += len(base64.b64decode(message.get("params", {}).get("data", "")))
            return size

        size = await asyncio.to_thread(size_of_all)
    assert size == MEGABYTES * 1_000_000 + (MEGABYTES * 1_000_000 - 1) // 99
    await until(lambda: not open_files(hall.house.root), "the file is closed")


async def test_what_a_running_agent_has_used_is_in_the_status(
    hall: Hall, client: SocketClient
) -> None:
    await hall.play("sing", "instrument: singer")
    async with asyncio.timeout(PATIENCE):
        while (used := (await client.status("song"))["sheets"][0]["so_far"]) is None:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)
    assert used == {"input_tokens": 123, "output_tokens": 1, "cost_usd": None}
    assert note((await client.status("song"))["sheets"][0]) == "so far: 123 tokens in, 1 out"
    hall.house.put("go")
    await settled(hall.conductor)
    assert (await client.status("song"))["sheets"][0]["so_far"] is None


async def test_a_client_that_goes_away_leaves_nothing(hall: Hall) -> None:
    await hall.play("echo out; while [ ! -e go ]; do sleep 0.02; done")
    watchers = hall.conductor.bus.subscribers
    client = await SocketClient.connect(hall.path)
    pieces = await client.follow_output(OutputRequest("song", 1))
    await taken(pieces, "out")
    assert open_files(hall.house.root) == 1
    assert hall.conductor.bus.subscribers > watchers
    await client.close()
    await until(lambda: not open_files(hall.house.root), "the file is closed")
    assert hall.conductor.bus.subscribers == watchers
    assert (await hall.house.run(hall.conductor)).status == "running"
    hall.house.put("go")
    await settled(hall.conductor)


async def test_clients_that_go_away_at_once_leave_nothing(hall: Hall) -> None:
    await hall.play("echo out; while [ ! -e go ]; do sleep 0.02; done")
    watchers = hall.conductor.bus.subscribers
    params = {"job_id": "song", "sheet": 1, "follow": True}
    request = {"jsonrpc": "2.0", "id": 1, "method": "job.output", "params": params}
    for turns in range(40):
        raw = await RawClient.connect(hall.path)
        await raw.send(json.dumps(request).encode() + b"\n")
        for _ in range(turns):
            await asyncio.sleep(0)
        raw.hang_up()
    await until(lambda: hall.conductor.bus.subscribers == watchers, "nobody listens any more")
    assert open_files(hall.house.root) == 0
    hall.house.put("go")
    await settled(hall.conductor)


async def test_a_huge_file_of_events_does_not_hold_the_loop(hall: Hall) -> None:
    """Each slice of it is short, also where nobody waits between two of them."""
    hall.house.put("go")
    await hall.play("sing", "instrument: singer")
    await settled(hall.conductor)
    path = hall.house.home.run_dir(hall.house.row().run_id) / "1.1.out"
    once = RECORDING.read_bytes()
    path.write_bytes(once * (8 * 2**20 // len(once)))
    pieces = await hall.conductor.follow_output(OutputRequest("song", 1))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    told = text_of(await rest_of(pieces))
    counting.cancel()
    assert turns >= path.stat().st_size // (16 * 1024)
    expected = formatter_of("claude")
    assert told == expected.feed(path.read_bytes()) + expected.finish()


async def test_many_streams_take_turns(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, the loop is held for one slice."""
    await hall.play("seq 1 200000")
    await settled(hall.conductor)
    read, held = output_stream._Following.read_on, [0]

    def counted(file: output_stream._Following) -> tuple[OutputPiece | None, bool]:
        held[-1] += 1
        return read(file)

    async def mark_turns() -> None:
        while True:
            held.append(0)
            await asyncio.sleep(0)

    monkeypatch.setattr(output_stream._Following, "read_on", counted)
    streams = [await hall.conductor.follow_output(OutputRequest("song", 1)) for _ in range(10)]
    marking = asyncio.create_task(mark_turns())
    told = await asyncio.gather(*map(rest_of, streams))
    marking.cancel()
    assert len({text_of(pieces) for pieces in told}) == 1
    assert sum(held) > 10 * 1_000_000 // output_stream.SLICE
    assert max(held) == 1
