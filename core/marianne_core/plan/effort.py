"""Whether the prompt of a sheet may take long, so that it is made in a thread.

Most prompts take some ten microseconds, less than it takes to ask a thread. What can take longer is
known beforehand: loops and calls in templates, files of others, and large data.
"""

from __future__ import annotations

from marianne_core.plan.cross_sheet import window_of
from marianne_core.plan.instruments import InstrumentChoice
from marianne_core.plan.prompt import injects, templates_of
from marianne_core.plan.requirements import MAX_EARLIER
from marianne_core.plan.sheets import Plan

MAX_READ = 100_000
"""Characters of other sheets' outputs that are read in the event loop."""
MAX_OUTPUTS = 8
"""Files they may come from."""
MAX_LOOKED_AT = 5_000
"""Sheets whose status is looked at there."""
MAX_RULES = 50
"""Rules that are bound to a sheet there, for the prompt and the attempt."""


def prompt_may_take_long(plan: Plan, num: int, *, choice: InstrumentChoice | None = None) -> bool:
    """Whether `build_prompt` may take over a millisecond or two, or wait for a disk.

    Takes microseconds itself. `choice` is the instrument when a fallback plays the sheet. Raises
    TemplateProblem for a directive that does not compile.
    """
    sheet = plan.sheet(num)
    raw = (choice or sheet.choice).raw_prompt
    rules = plan.rule_index.candidates(num, sheet.movement)
    if len(rules) * (1 if raw else 1 + MAX_EARLIER) > MAX_RULES:
        return True
    templates = templates_of(plan, num, raw=raw)
    names = frozenset[str]().union(*(template.names for template in templates))
    return (
        any(template.lengthy for template in templates)
        or not plan.large_variables.isdisjoint(names)
        or injects(plan, num, raw=raw)
        or _context_may_take_long(plan, num, names)
    )


def _context_may_take_long(plan: Plan, num: int, names: frozenset[str]) -> bool:
    settings = plan.config.cross_sheet
    if settings is None:
        return False
    window = len(window_of(settings, num))
    outputs = "previous_outputs" in names and settings.auto_capture_stdout
    return (
        ("previous_files" in names and bool(settings.capture_files))
        or (outputs and (window > MAX_OUTPUTS or window * settings.max_output_chars > MAX_READ))
        or ("skipped_upstream" in names and window + _waits_for(plan, num) > MAX_LOOKED_AT)
    )


def _waits_for(plan: Plan, num: int) -> int:
    return sum(len(block) for block in plan.sheet(num).deps)
