"""docs/protocol.md tells of every method."""

from __future__ import annotations

import re
from pathlib import Path

from marianne_core.serve.methods import METHODS, STREAM, OutputParams, SubmitParams
from marianne_core.serve.wire import END_METHOD, EVENT_METHOD, PART_METHOD, PIECE_METHOD

PAGE = (Path(__file__).resolve().parents[2] / "docs/protocol.md").read_text(encoding="utf-8")


def test_every_method_and_notification_is_told() -> None:
    named = set(re.findall(r"`((?:job|daemon|monitor|answer|output)\.[a-z_.]+)`", PAGE))
    assert named == {*METHODS, STREAM, EVENT_METHOD, PART_METHOD, PIECE_METHOD, END_METHOD}


def test_every_parameter_of_output_is_told() -> None:
    _, _, section = PAGE.partition("## Output of a sheet")
    table = section.split("\n\n")[1]
    named = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:]))
    assert set(named) == set(OutputParams.model_fields)


def test_every_parameter_of_a_submission_is_told() -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| `job.submit`")]
    named = set(re.findall(r"`(\w+)`", row.split("|")[2]))
    older = {"self_healing", "self_healing_auto_confirm", "dry_run", "chain_depth"}
    assert named == set(SubmitParams.model_fields) - older
