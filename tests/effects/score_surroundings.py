"""What a score is called, where it works, and what becomes of an old workspace."""

from __future__ import annotations

from collections.abc import Sequence

from tests.effects.probe import See, effect
from tests.effects.seams import launch, mzt
from tests.effects.world import ABSENT, World


def shown(*arguments: str, words: str) -> See:
    """Whether a command's output holds these words."""
    return lambda world: words in mzt(world, *arguments)


async def _fresh(world: World) -> list[str]:
    """Files of the workspace after a fresh run; two archives and a file were there before."""
    for archive in ("archive/iteration-1", "archive/iteration-2", "attic/iteration-1"):
        world.put(f"{archive}/older.txt")
    world.put("old.txt")
    status = await world.run(fresh=True)
    assert status["status"] == "completed", status
    files = (path.relative_to(world.workspace) for path in world.workspace.rglob("*.txt"))
    return sorted(map(str, files))


async def _newest_archive(world: World) -> str:
    """What the archive of a fresh run is named by."""
    before: Sequence[str] = ("iteration-1", "iteration-2")
    (name,) = {
        path.split("/")[1] for path in await _fresh(world) if path.startswith("archive/")
    } - {*before}
    return "a number" if name == "iteration-3" else "the time"


ARCHIVES = ["archive/iteration-1/older.txt", "archive/iteration-2/older.txt"]
ARCHIVED = [
    *ARCHIVES,
    "archive/iteration-3/attic/iteration-1/older.txt",
    "archive/iteration-3/old.txt",
]
ON = {"workspace_lifecycle": {"archive_on_fresh": True}}

PROBES = [
    effect(
        "name",
        ("song", True),
        ("other", False),
        see=shown("run", "--dry-run", "song.yaml", words="song: 1 sheet"),
    ),
    effect(
        "description",
        (ABSENT, False),
        ("A song for the morning", True),
        see=shown("validate", "song.yaml", words="A song for the morning"),
    ),
    effect(
        "workspace",
        ("ws", "ws"),
        ("hall", "hall"),
        see=launch(lambda seen: seen.cwd.name),
    ),
    effect("workspace_lifecycle.archive_on_fresh", (False, ARCHIVES), (True, ARCHIVED), see=_fresh),
    effect(
        "workspace_lifecycle.archive_dir",
        ("archive", ARCHIVED),
        (
            "attic",
            [*ARCHIVES, "attic/iteration-1/older.txt", "attic/iteration-2/old.txt"],
        ),
        see=_fresh,
        score=ON,
    ),
    effect(
        "workspace_lifecycle.archive_naming",
        ("iteration", "a number"),
        ("timestamp", "the time"),
        see=_newest_archive,
        score=ON,
    ),
    effect(
        "workspace_lifecycle.max_archives",
        (0, ARCHIVED),
        (1, ARCHIVED[2:]),
        see=_fresh,
        score=ON,
    ),
    effect(
        "workspace_lifecycle.preserve_patterns",
        (["attic"], [*ARCHIVES, "archive/iteration-3/old.txt", "attic/iteration-1/older.txt"]),
        (["attic", "*.txt"], [*ARCHIVES, "attic/iteration-1/older.txt", "old.txt"]),
        see=_fresh,
        score=ON,
    ),
]
