"""What the agents are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from marianne_core.config.base import Strict, Variables, absolute_path, broken_rule


class PromptConfig(Strict):
    """The template of every sheet's prompt and the variables it may use."""

    template: str | None = None
    """The prompt as a Jinja template. Either this or `template_file`."""
    template_file: Path | None = None
    """File that holds the template, relative to the score file."""
    variables: Variables = Field({})
    """Values for the template: any data, found by name."""
    stakes: str | None = None
    """What depends on the work; a template may use it as `stakes`."""
    thinking_method: str | None = None
    """How the agent should think; a template may use it as `thinking_method`."""
    prompt_extensions: list[str] = Field(default=[])
    """Directives that are added to the end of every sheet's prompt."""

    @field_validator("template_file")
    @classmethod
    def _beside_the_score(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return None if path is None else absolute_path(path, info)

    @model_validator(mode="before")
    @classmethod
    def _one_template(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("template") and data.get("template_file"):
            raise broken_rule(
                "give either `template` or `template_file`, not both", "template_file"
            )
        return data
