"""What later sheets are told about earlier ones."""

from __future__ import annotations

from pathlib import Path

from tests.conductor.house import House, Playing, settled

_SAVES = (
    "printf %s {{ previous_outputs.get(sheet_num - 1, 'nothing') | quote }} > told-{{ sheet_num }}"
)


def _relay(house: House, settings: str, first: str, *, sheets: int = 2) -> Path:
    """Sheet 1 runs `first`; every later one saves what it is told of the sheet before it."""
    return house.score(
        f"cross_sheet: {{{settings}}}",
        sheets=sheets,
        script=f"{{% if sheet_num == 1 %}}{first}{{% else %}}{_SAVES}{{% endif %}}",
    )


def _told(house: House, sheet: int = 2) -> str:
    return (house.workspace / f"told-{sheet}").read_text()


async def test_a_sheet_gets_the_whole_output_up_to_the_maximum(house: House) -> None:
    score = _relay(
        house,
        "auto_capture_stdout: true, max_output_chars: 20000",
        "for i in $(seq 2000); do echo $((i + 1000)); done",
    )
    run = await house.play(score)
    assert run.status == "completed"
    lines = _told(house).split()
    assert lines == [str(1000 + i) for i in range(1, 2001)]  # 10,000 characters


async def test_longer_output_keeps_its_beginning_and_says_so(house: House) -> None:
    score = _relay(
        house,
        "auto_capture_stdout: true",
        "head -c 5000 /dev/zero | tr '\\0' a; echo END",
    )
    await house.play(score)
    told = _told(house)
    assert told.startswith("a" * 1900)
    assert "END" not in told
    assert len(told) < 2200
    assert told.rstrip("a") == told  # something after the text says that it was cut


async def test_output_is_counted_in_characters_not_bytes(house: House) -> None:
    score = _relay(
        house,
        "auto_capture_stdout: true, max_output_chars: 3000",
        "for i in $(seq 3000); do printf ö; done",
    )
    await house.play(score)
    assert _told(house) == "ö" * 3000


async def test_output_reaches_a_sheet_that_starts_after_a_restart(house: House) -> None:
    score = house.score(
        "cross_sheet: {auto_capture_stdout: true, max_output_chars: 20000, lookback_sheets: 0}",
        sheets=3,
        script="""
        {% if sheet_num == 1 %}
        head -c 10000 /dev/zero | tr '\\0' x
        {% elif sheet_num == 2 %}
        until [ -e go ]; do sleep 0.02; done
        echo the second
        {% else %}
        printf %s {{ previous_outputs[1] | quote }} > told-1
        printf %s {{ previous_outputs[2] | trim | quote }} > told-2
        {% endif %}
        """,
    )
    async with Playing(house, score) as song:
        await song.events.until("sheet.started", sheet=2)
    async with house.conductor() as conductor:
        house.put("go")
        await settled(conductor)
    assert house.row().status == "completed"
    assert _told(house, 1) == "x" * 10_000
    assert _told(house, 2) == "the second"


async def test_lookback_says_how_far_back_sheets_are_told(house: House) -> None:
    score = house.score(
        "cross_sheet: {auto_capture_stdout: true, lookback_sheets: 2}",
        sheets=4,
        script="echo {{ sheet_num }}; echo {{ previous_outputs.keys() | sort | join(' ') }} > keys-{{ sheet_num }}",
    )
    await house.play(score)
    assert [house.lines(f"keys-{num}") for num in (1, 2, 3, 4)] == [[""], ["1"], ["1 2"], ["2 3"]]


async def test_nothing_is_told_unless_the_score_asks(house: House) -> None:
    score = house.score(
        "", sheets=2, script="echo {{ previous_outputs | length }} > keys-{{ sheet_num }}"
    )
    await house.play(score)
    assert house.lines("keys-2") == ["0"]


async def test_a_skipped_sheet_is_told_as_skipped(house: House) -> None:
    score = house.score(
        """
        cross_sheet: {auto_capture_stdout: true}
        sheet: {size: 1, total_items: 2, skip_when_command: {1: {command: "true"}}}
        """,
        script=_SAVES,
    )
    await house.play(score)
    assert _told(house) == "[SKIPPED]"


async def test_only_the_attempt_that_succeeded_is_told(house: House) -> None:
    score = house.score(
        """
        cross_sheet: {auto_capture_stdout: true}
        retry: {max_retries: 1, base_delay_seconds: 0.02}
        """,
        sheets=2,
        script="{% if sheet_num == 1 %}mkdir once && { echo bad; exit 1; }; echo good{% else %}"
        + _SAVES
        + "{% endif %}",
    )
    await house.play(score)
    assert _told(house).strip() == "good"


async def test_output_that_is_not_text_does_no_harm(house: House) -> None:
    score = _relay(house, "auto_capture_stdout: true", "printf 'a\\377\\000b\\033[31mc'")
    run = await house.play(score)
    assert run.status == "completed"
    told = _told(house)
    assert told.startswith("a")
    assert "c" in told
    assert "\0" not in told


async def test_files_are_captured_and_secrets_are_not(house: House) -> None:
    secret = "ghp_" + "a1B2" * 9
    score = house.score(
        """
        cross_sheet: {capture_files: ["{{ workspace }}/note-*.txt"]}
        """,
        sheets=2,
        script=f"""
        {{% if sheet_num == 1 %}}
        echo "one {secret} two" > note-1.txt
        {{% else %}}
        printf %s {{{{ previous_files.values() | join('|') | quote }}}} > told-2
        {{% endif %}}
        """,
    )
    await house.play(score)
    told = _told(house)
    assert told.startswith("one ")
    assert told.rstrip().endswith(" two")
    assert secret not in told
