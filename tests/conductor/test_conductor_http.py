"""Models behind HTTP under a whole conductor: their turns are programs like all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marianne_core.remember.queries import open_reader
from marianne_core.run.attempt_files import AttemptFiles
from tests.ask.service import Request, Service, said
from tests.conductor.host import Host
from tests.conductor.house import MARK, House, settled, submit, until

FIRST, LAST = "La ", "la."


def slowly(call: Request) -> None:
    """The last word comes when the test says so."""
    call.head()
    for event in said(FIRST, LAST):
        if LAST in json.dumps(event):
            assert call.server.service.enough.wait(20)
        call.events(event)


def profile(house: House, service: Service) -> None:
    """An instrument whose key is the house's mark: so its processes are seen."""
    house.instruments = house.root / ".marianne" / "instruments"
    house.instruments.mkdir(parents=True)
    (house.instruments / "model.yaml").write_text(
        "name: model\ndisplay_name: Model\nkind: http\ndefault_model: m\n"
        f"http: {{base_url: '{service.url}', endpoint: /v1/messages, schema_family: anthropic, "
        f"auth_env_var: {MARK}}}\n"
    )


def files(house: House, sheet: int = 1) -> AttemptFiles:
    return AttemptFiles(house.home.run_dir(house.row().run_id), sheet, 1)


def has_begun(house: House) -> bool:
    out = files(house).stdout
    return out.exists() and FIRST in out.read_text()


def answer_of(house: House) -> str:
    return Path(files(house).name("txt")).read_text()


def mentions(folder: Path, text: str) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


async def test_a_turn_outlives_its_conductor(house: House) -> None:
    with Service(slowly) as service:
        profile(house, service)
        with Host(house, house.score("instrument: model", script="Sing.")):
            await until(lambda: service.requests and has_begun(house), "the answer begins")
        assert house.processes() != {}
        async with house.conductor() as conductor:
            assert (await house.run(conductor)).status == "running"
            service.enough.set()
            await settled(conductor)
            run = await house.run(conductor)
        assert len(service.requests) == 1
    assert run.status == "completed"
    assert run.tries == [1]
    (attempt,) = house.attempts()
    assert (attempt.input_tokens, attempt.output_tokens) == (100, 7)
    with open_reader(house.home) as reader:
        totals = reader.totals(house.row().run_id)
    assert (totals.attempts, totals.input_tokens, totals.output_tokens) == (1, 100, 7)
    assert answer_of(house) == "La la."
    assert service.requests[0].headers["x-api-key"] == house.mark
    assert mentions(house.home.root, house.mark) == []


async def test_cancel_in_mid_turn(house: House) -> None:
    with Service(slowly) as service:
        profile(house, service)
        async with house.conductor() as conductor:
            await submit(conductor, house.score("instrument: model", script="Sing."))
            await until(lambda: service.requests and has_begun(house), "the answer begins")
            assert house.processes() != {}
            await conductor.cancel("song")
            await settled(conductor)
        assert house.processes() == {}
    (attempt,) = house.attempts()
    assert (attempt.ended, attempt.input_tokens) == ("cancelled", 100)


async def test_a_turn_that_takes_too_long(house: House) -> None:
    with Service(slowly) as service:
        profile(house, service)
        settings = "instrument: model\ninstrument_config: {timeout_seconds: 0.5}"
        run = await house.play(house.score(settings, script="Sing."))
        assert house.processes() == {}
    assert run.status == "failed"
    (attempt,) = house.attempts()
    assert (attempt.ended, attempt.code) == ("timeout", "E001")


async def test_an_answer_is_told_to_the_next_sheet(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the built-in instrument, as people's scores use it."""

    def answer(call: Request) -> None:
        call.head()
        call.events(*said(f"Answer {len(call.server.service.requests)}."))

    text = """
        instrument: anthropic_api
        instrument_config: {api_key_env: MY_KEY, max_tokens: 90, timeout_seconds: 60}
        cross_sheet: {auto_capture_stdout: true}
        sheet: {size: 1, total_items: 2, dependencies: {2: [1]}}
        """
    with Service(answer) as service:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", service.url)
        monkeypatch.setenv("MY_KEY", "the-key-that-nobody-sees")
        score = house.score(text, script="Heard: {{ previous_outputs }}")
        run = await house.play(score)
    assert run.status == "completed", run.picture
    first, second = service.requests
    assert first.headers["x-api-key"] == "the-key-that-nobody-sees"
    assert (first.json["model"], first.json["max_tokens"]) == ("claude-sonnet-4-5-20250929", 90)
    assert "{1: 'Answer 1.'}" in second.json["messages"][0]["content"]
    assert mentions(house.home.root, "the-key-that-nobody-sees") == []
