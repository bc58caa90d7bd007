"""Programs that misbehave: the sheet has an end with a reason, and nothing of it is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conductor.house import House, Playing, settled

_AGENT = 'cli: {command: {executable: "{program}"}, output: {format: text}}'


async def test_an_executable_that_is_not_there(house: House) -> None:
    house.instrument("cli: {command: {executable: no-such-program-x}, output: {}}", name="ghost")
    run = await house.play(house.score("instrument: ghost", sheets=2, script="work"))
    assert run.statuses == ["failed", "skipped"]
    assert "no-such-program-x" in run.sheet(1)["reason"]
    attempt = house.attempts(1)[0]
    assert attempt.code == "E505"
    assert "Traceback" not in str(run.picture)


async def test_an_executable_that_is_not_executable(house: House) -> None:
    program = house.instrument(_AGENT, name="stone", program="true")
    program.chmod(0o644)
    run = await house.play(house.score("instrument: stone", script="work"))
    assert run.statuses == ["failed"]
    assert str(program) in run.sheet(1)["reason"]
    assert "execut" in run.sheet(1)["reason"]
    assert house.attempts(1)[0].code == "E505"


async def test_an_executable_that_is_no_program(house: House) -> None:
    """It has the bit, but the system refuses it, or its interpreter does not exist."""
    program = house.instrument(_AGENT, name="stone", program="")
    program.write_text("#!/no/such/interpreter\n")
    run = await house.play(house.score("instrument: stone", script="work"))
    assert run.statuses == ["failed"]
    assert house.attempts(1)[0].code == "E505"
    reason = f"{program}: its interpreter '/no/such/interpreter' does not exist"
    assert reason in run.sheet(1)["reason"]


async def test_an_executable_that_is_a_folder(house: House) -> None:
    program = house.instrument(_AGENT, name="stone", program=None)
    program.mkdir()
    run = await house.play(house.score("instrument: stone", script="work"))
    assert run.statuses == ["failed"]
    assert house.attempts(1)[0].code == "E505"


@pytest.mark.parametrize(
    ("name", "number", "code"), [("KILL", 9, "E002"), ("SEGV", 11, "E003"), ("TERM", 15, "E002")]
)
async def test_a_child_that_a_signal_kills(house: House, name: str, number: int, code: str) -> None:
    run = await house.play(house.score("", script=f"kill -{name} $$; sleep 9"))
    assert run.statuses == ["failed"]
    attempt = house.attempts(1)[0]
    assert (attempt.signal, attempt.code, attempt.ended) == (number, code, "failed")
    assert name in run.sheet(1)["reason"] or f"signal {number}" in run.sheet(1)["reason"]


async def test_a_child_that_leaves_a_process_behind(house: House) -> None:
    score = house.score("", sheets=2, script="sleep 99 > /dev/null 2>&1 & echo $! >> pids")
    async with house.conductor() as conductor:
        run = await house.play(score, conductor=conductor)
        assert run.status == "completed"
        assert house.processes() == {}
    assert "sheet.leftovers" in house.kinds(1)


async def test_a_child_that_holds_its_output_open(house: House) -> None:
    """The end of the instrument counts, not the end of its output."""
    score = house.score("", script="(trap '' TERM; sleep 99) & echo done")
    async with Playing(house, score) as song:
        run = await song.end()
        assert run.status == "completed"
        assert (run.sheet(1)["finished_at"] - run.sheet(1)["started_at"]) < 10
        assert house.processes() == {}


async def test_a_child_that_makes_itself_a_daemon(house: House) -> None:
    """A session of its own, a second fork, and its files closed."""
    daemon = """
        (setsid bash -c '(trap "" TERM HUP; touch daemon-{{ sheet_num }}; exec sleep 99) \\
            < /dev/null > /dev/null 2>&1 &')
        until [ -e daemon-{{ sheet_num }} ]; do sleep 0.01; done
        """
    async with house.conductor() as conductor:
        run = await house.play(house.score("", sheets=2, script=daemon), conductor=conductor)
        assert run.status == "completed"
        await settled(conductor)
    assert house.processes() == {}


async def test_a_child_that_ignores_term(house: House) -> None:
    score = house.score(
        "instrument_config: {timeout_seconds: 0.5}",
        script="trap '' TERM INT HUP; touch up; while :; do sleep 0.05; done",
    )
    run = await house.play(score)
    assert run.statuses == ["failed"]
    assert house.attempts(1)[0].code == "E001"
    assert house.processes() == {}


async def test_a_child_that_ends_well_when_asked_is_given_the_time(house: House) -> None:
    score = house.score(
        "", script="trap 'touch said-goodbye; exit 0' TERM; touch up; sleep 99 & wait"
    )
    async with Playing(house, score, grace=5) as song:
        await house.appears("up")
        await song.conductor.cancel("song")
    assert house.wrote("said-goodbye")


async def test_a_child_that_writes_200_megabytes(house: House) -> None:
    score = house.score(
        "cross_sheet: {auto_capture_stdout: true, max_output_chars: 100}",
        sheets=2,
        script="""
        {% if sheet_num == 1 %}
        echo begin; head -c 200000000 /dev/zero | tr '\\0' x; echo; echo end
        {% else %}
        printf %s {{ previous_outputs[1] | quote }} > told
        {% endif %}
        """,
    )
    before = _peak_memory()
    run = await house.play(score)
    assert run.status == "completed"
    assert (house.workspace / "told").read_text().startswith("begin\nxxx")
    assert _peak_memory() - before < 60_000_000
    for path in house.home.runs.rglob("1.1.out"):
        path.unlink()  # pytest keeps the folders of the last runs


async def test_a_child_that_fails_after_200_megabytes_of_errors(house: House) -> None:
    score = house.score(
        "",
        script="head -c 200000000 /dev/zero | tr '\\0' e >&2; echo >&2; echo 'out of ideas' >&2; exit 4",
    )
    run = await house.play(score)
    assert run.statuses == ["failed"]
    assert run.sheet(1)["exit_code"] == 4
    assert "out of ideas" in run.sheet(1)["reason"]
    assert len(run.sheet(1)["reason"]) < 1000
    for path in house.home.runs.rglob("1.1.err"):
        path.unlink()


def _peak_memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


async def test_a_child_that_closes_everything_and_goes_on(house: House) -> None:
    run = await house.play(house.score("", script="exec < /dev/null > /dev/null 2>&1; sleep 0.1"))
    assert run.status == "completed"


async def test_a_child_that_never_reads_a_large_prompt(house: House) -> None:
    house.instrument(
        'raw_prompt: true\ncli: {command: {executable: "{program}", prompt_via_stdin: true}, output: {}}',
        name="deaf",
        program="exit 0",
    )
    script = "{% for n in range(60000) %}ten chars {% endfor %}"
    run = await house.play(house.score("instrument: deaf", script=script))
    assert run.status == "completed"


async def test_a_large_prompt_reaches_cat(house: House) -> None:
    house.instrument(
        """
        raw_prompt: true
        cli: {command: {executable: cat, prompt_via_stdin: true}, output: {format: text}}
        """,
        name="cat",
    )
    script = "{% for n in range(60000) %}ten chars {% endfor %}"
    run = await house.play(house.score("instrument: cat", script=script))
    assert run.status == "completed"
    (output,) = house.home.runs.rglob("1.1.out")
    assert output.read_text().strip() == ("ten chars " * 60_000).strip()


async def test_a_large_script_plays_on_cli(house: House) -> None:
    """Far above what one argument of a command line may hold."""
    script = "{% for n in range(20000) %}# a line that says nothing\n{% endfor %}\ntouch made"
    score = house.score("")
    lines = "".join(f"    {line}\n" for line in script.splitlines())
    score.write_text(score.read_text() + "prompt:\n  template: |\n" + lines)
    run = await house.play(score)
    assert run.status == "completed", run.reason
    assert house.wrote("made")


async def test_the_environment_names_the_attempt(house: House) -> None:
    run = await house.play(house.score("", script="echo $MARIANNE_ATTEMPT > token; pwd > where"))
    assert run.status == "completed"
    assert house.lines("token") == [house.attempts(1)[0].token]
    assert house.lines("where") == [str(house.workspace)]


async def test_a_sheet_that_kills_its_own_group(house: House) -> None:
    run = await house.play(house.score("", script="kill -TERM 0; sleep 20"))
    assert run.statuses == ["failed"]
    assert house.attempts(1)[0].signal == 15


async def test_a_sheet_that_fills_the_table_of_processes_of_its_group(house: House) -> None:
    """Many short-lived children, so that the scans of /proc race with their ends."""
    score = house.score(
        "", script="for i in $(seq 150); do (sleep 0.0$((RANDOM % 9))) & done; exit 0"
    )
    run = await house.play(score)
    assert run.status == "completed"
    assert house.processes() == {}


async def test_strange_names_are_no_trouble(house: House) -> None:
    house.workspace = house.root / "ä workspace 'with' \"quotes\" $HOME"
    score = house.score(
        f"""
        workspace: {json.dumps(str(house.workspace))}
        validations: [{{type: file_exists, path: "{{workspace}}/made"}}]
        """,
        script="touch made",
        name="ä song with spaces",
    )
    async with house.conductor() as conductor:
        run = await house.play(score, conductor=conductor)
    assert run.status == "completed", run.reason
    assert house.wrote("made")


async def test_a_sheet_cannot_reach_the_status_file(house: House) -> None:
    """It must not be able to say that it ended well, nor to keep the lock."""
    score = house.score("", script="echo '=0' >&3; ls /proc/$$/fd > fds; exit 5")
    run = await house.play(score)
    assert run.statuses == ["failed"]
    assert run.sheet(1)["exit_code"] == 5
    assert set(house.lines("fds")) <= {"0", "1", "2", "3", "255"}
