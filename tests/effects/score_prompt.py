"""What a player is told: template, variables, injected files, and words of earlier sheets."""

from __future__ import annotations

from collections.abc import Iterator

from tests.effects.probe import Probe, See, effect
from tests.effects.seams import launch, played
from tests.effects.world import ABSENT, World

RAW = {"raw_prompt": True}
prompt = launch(lambda shown: shown.prompt)
last_line = launch(lambda shown: shown.prompt.splitlines()[-1])


async def _with_a_file(world: World) -> str:
    (world.folder / "task.txt").write_text("play from the file")
    return (await played(world)).prompt.strip()


PROMPT = [
    effect("prompt.template", ("play", "play"), ("sing", "sing"), see=prompt, profile=RAW),
    effect(
        "prompt.template_file",
        (ABSENT, "Sheet 1 of 1: work on item 1."),
        ("task.txt", "play from the file"),
        see=_with_a_file,
        score={"prompt": {"template": ABSENT}},
        profile=RAW,
    ),
    effect(
        "prompt.variables",
        ({"key": "C"}, "play in C"),
        ({"key": "D"}, "play in D"),
        see=prompt,
        score={"prompt": {"template": "play in {{ key }}"}},
        profile=RAW,
    ),
    effect(
        "prompt.stakes",
        (ABSENT, "stakes:"),
        ("high", "stakes: high"),
        see=launch(lambda shown: shown.prompt.strip()),
        score={"prompt": {"template": "stakes: {{ stakes }}"}},
        profile=RAW,
    ),
    effect(
        "prompt.thinking_method",
        (ABSENT, "think:"),
        ("slowly", "think: slowly"),
        see=launch(lambda shown: shown.prompt.strip()),
        score={"prompt": {"template": "think: {{ thinking_method }}"}},
        profile=RAW,
    ),
    effect(
        "prompt.prompt_extensions",
        (ABSENT, "play sheet 1"),
        (["Be brief."], "Be brief."),
        see=last_line,
    ),
    effect(
        "sheet.prompt_extensions",
        (ABSENT, "play sheet 1"),
        ({1: ["Be brief."]}, "Be brief."),
        see=last_line,
    ),
]


async def _injected(world: World) -> list[str]:
    """Which of the injected texts are in the prompt, and their heading before them."""
    for name in ("one", "two"):
        world.put(f"{name}.txt", f"text {name}")
        world.put(f"{name}/file.txt", f"folder {name}")
    text = (await played(world)).prompt
    words = (
        "## Context",
        "## Skills",
        "## Tools",
        "text one",
        "text two",
        "folder one",
        "folder two",
    )
    return [word for word in words if word in text]


def _injections() -> Iterator[Probe]:
    for place, of_sheet in (("prelude", False), ("cadenzas", True)):
        at = f"sheet.{place}.1.0" if of_sheet else f"sheet.{place}.0"

        def holding(
            item: dict[str, str], name: str = place, of_sheet: bool = of_sheet
        ) -> dict[str, object]:
            return {"sheet": {name: {1: [item]} if of_sheet else [item]}}

        yield effect(
            f"{at}.file",
            ("one.txt", ["## Context", "text one"]),
            ("two.txt", ["## Context", "text two"]),
            see=_injected,
            score=holding({"as": "context"}),
        )
        yield effect(
            f"{at}.directory",
            ("one", ["## Context", "folder one"]),
            ("two", ["## Context", "folder two"]),
            see=_injected,
            score=holding({"as": "context"}),
        )
        yield effect(
            f"{at}.as",
            ("context", ["## Context", "text one"]),
            ("skill", ["## Skills", "text one"]),
            ("tool", ["## Tools", "text one"]),
            see=_injected,
            score=holding({"file": "one.txt"}),
        )


def _told(template: str, num: int = 2) -> tuple[See, dict[str, object]]:
    """How the last of `num` sheets is told about those before it."""
    see = launch(
        lambda shown: shown.prompt.strip(),
        num=num,
        after={n: f"sheet {n} says hello" for n in range(1, num)},
    )
    return see, {"sheet": {"total_items": num}, "prompt": {"template": template}}


OUTPUTS, TWO = _told("{{ previous_outputs.values() | join(', ') }}")
WHOSE, FOUR = _told("{{ previous_outputs.keys() | join(', ') }}", num=4)
FIRST_WORDS, _ = _told("")


async def _files(world: World) -> str:
    world.put("notes.md", "from a file")
    return (await played(world)).prompt.strip()


CROSS_SHEET = [
    effect(
        "cross_sheet.auto_capture_stdout",
        (False, ""),
        (True, "sheet 1 says hello"),
        see=OUTPUTS,
        score=TWO,
        profile=RAW,
    ),
    effect(
        "cross_sheet.max_output_chars",
        (5, "sheet\n[... cut after 5 characters; the whole has 18 bytes]"),
        (18, "sheet 1 says hello"),
        see=OUTPUTS,
        score={**TWO, "cross_sheet": {"auto_capture_stdout": True}},
        profile=RAW,
    ),
    effect(
        "cross_sheet.capture_files",
        (ABSENT, ""),
        (["*.md"], "from a file"),
        see=_files,
        score={
            "prompt": {"template": "{{ previous_files.values() | join(', ') }}"},
            "cross_sheet": {"auto_capture_stdout": True},
        },
        profile=RAW,
    ),
    effect(
        "cross_sheet.lookback_sheets",
        (1, "3"),
        (0, "1, 2, 3"),
        see=WHOSE,
        score={**FOUR, "cross_sheet": {"auto_capture_stdout": True}},
        profile=RAW,
    ),
]

PROBES = [*PROMPT, *_injections(), *CROSS_SHEET]
