"""What a run needs of a score: as small as the score itself allows."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from marianne_core.config.daemon import DaemonConfig
from marianne_core.config.profiles import load_profiles
from marianne_core.decide.graph import SheetGraph
from marianne_core.model.requests import SubmitRequest
from marianne_core.run.submission import Submission, read_request, tasks_of


def submission(folder: Path, voices: int, needs: dict[int, list[int]], stages: int) -> Submission:
    path = folder / "score.yaml"
    wide = dict.fromkeys(range(1, stages + 1), voices)
    path.write_text(
        "name: a\nworkspace: w\ninstrument: cli\nprompt: {template: x}\nparallel: {enabled: true}\n"
        f"sheet: {{size: 1, total_items: {stages}, fan_out: {wide}, dependencies: {needs}}}\n"
    )
    return read_request(SubmitRequest(str(path)), load_profiles([]), DaemonConfig())


def test_blocks_that_many_wait_for_are_there_once(tmp_path: Path) -> None:
    found = submission(tmp_path, 3, {2: [1], 3: [1, 2], 4: [1, 2, 3]}, 4)
    blocks = [block for task in found.tasks for block in task.deps]
    assert len(blocks) > len(set(blocks)) == len({id(block) for block in blocks})
    assert found.tasks[11].deps == (range(3, 4), range(6, 7), range(9, 10))


def test_sheets_of_a_stage_that_wait_for_the_same_share_one_tuple(tmp_path: Path) -> None:
    found = submission(tmp_path, 1, {2: [1], 4: [1, 3]}, 4)
    path = found.plan.path
    path.write_text(path.read_text().replace("4: 1}, dep", "4: 5}, dep"))
    found = read_request(SubmitRequest(str(path)), load_profiles([]), DaemonConfig())
    last = [task.deps for task in found.tasks[3:]]
    assert last[0] == (range(1, 2), range(3, 4))
    assert len(last) == 5
    assert all(deps is last[0] for deps in last)


def test_a_dependency_of_one_voice_on_another_takes_few_bytes(tmp_path: Path) -> None:
    """Of forty stages, each waits voice by voice for all before it."""
    needs = {stage: list(range(1, stage)) for stage in range(2, 41)}
    plan = submission(tmp_path, 20, needs, 40).plan
    edges = 20 * sum(map(len, needs.values()))
    tracemalloc.start()
    try:
        tasks = tasks_of(plan)
        graph = SheetGraph(tasks)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(graph.nodes) == 800
    assert size / edges < 60
