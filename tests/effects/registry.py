"""All probes."""

from __future__ import annotations

from tests.effects import (
    conductor_settings,
    instrument_settings,
    profile_command,
    profile_output,
    profile_rest,
    score_policy,
    score_prompt,
    score_shape,
    score_surroundings,
    score_validations,
)
from tests.effects.probe import Probe

PROBES: list[Probe] = [
    *score_shape.PROBES,
    *score_prompt.PROBES,
    *score_policy.PROBES,
    *score_validations.PROBES,
    *score_surroundings.PROBES,
    *instrument_settings.PROBES,
    *profile_rest.PROBES,
    *profile_command.PROBES,
    *profile_output.PROBES,
    *conductor_settings.PROBES,
]
"""One or more for every field in effect."""
