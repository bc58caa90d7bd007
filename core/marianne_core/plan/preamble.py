"""The words before every prompt: where the agent is, and how its work is judged.

The facts are those of the field reference, section 2.2. What is the same for all sheets stands
first, so that prompt caches of the models can use it.
"""

from __future__ import annotations

from marianne_core.plan.sheets import Plan

_RULES = """\
How this works:
- The task below says what is wanted. Code in it shows an idea; it is not to be copied as it stands.
- Everything you produce belongs into the workspace.
- When you are done, the requirements at the end of this message are checked by a program. The
  sheet counts only if every one of them passes at the first look.
- Leave nothing running in the background: processes you started end with you.
- In git commits that you make, name yourself in a Co-Authored-By trailer, with your version."""

_RULES_OF_ANSWERS = """\
How this works:
- The task below says what is wanted. Code in it shows an idea; it is not to be copied as it stands.
- You have no tools. Your answer is all of your work, and it is used as it stands: no greeting, no
  questions back, no announcements.
- Requirements at the end of this message, if there are any, are checked by a program."""

_SIDE_BY_SIDE = """\
- Other sheets of this score may be at work in the same workspace right now. Touch only what your
  task names, and use files in the workspace to agree on anything shared."""


def preamble(
    plan: Plan, num: int, attempt: int, *, completes: bool = False, only_answers: bool = False
) -> str:
    """The preamble of attempt `attempt` (from 1) of a sheet.

    `completes`: the prompt ends with what is left to do of an earlier attempt's work.
    `only_answers`: it is for a model without tools, which is not told of files and processes.
    """
    sheet = plan.sheet(num)
    lines = [_RULES_OF_ANSWERS if only_answers else _RULES]
    if plan.config.parallel.enabled and not only_answers:
        lines.append(_SIDE_BY_SIDE)
    place = f"You play sheet {num} of {plan.total_sheets}"
    if sheet.title:
        place += f" ({sheet.title})"
    if sheet.fan_count > 1:
        place += f", voice {sheet.instance} of {sheet.fan_count}"
    lines.append(f"\n{place}.")
    if only_answers:
        if attempt > 1:
            lines.append(f"\nRETRY #{attempt - 1}: an earlier answer was not good enough.")
        return _framed(lines)
    lines.append(f"Workspace: {plan.workspace}")
    if completes:
        lines.append(
            f"\nRETRY #{attempt - 1}: an earlier attempt did a part of this sheet's work, which is in "
            "the workspace. What is left to do stands at the end of this message."
        )
    elif attempt > 1:
        lines.append(
            f"\nRETRY #{attempt - 1}: an earlier attempt at this sheet was not good enough. Look at "
            "what it left in the workspace, find out what went wrong, and take another way."
        )
    return _framed(lines)


def _framed(lines: list[str]) -> str:
    body = "\n".join(lines)
    return f"<marianne-preamble>\n{body}\n</marianne-preamble>"
