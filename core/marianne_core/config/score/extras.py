"""Blocks that few scores have: specification, techniques, identity, bridges, agent card."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from marianne_core.config.base import Strict


class SpecFragment(Strict):
    """A piece of the specification, written in the score."""

    name: str = Field(min_length=1)
    """Name of the piece."""
    content: str = ""
    """Its text."""
    tags: list[str] = Field([])
    """Tags that sheets choose it by."""
    kind: str = "text"
    """Kind of the piece: text or structured data."""
    data: dict[str, Any] = Field({})
    """Structured content."""


class SpecCorpusConfig(Strict):
    """What the work is measured against."""

    spec_dir: str = ""
    """Directory with the specification's files; empty for none."""
    include_claude_md: bool = False
    """Take the project's CLAUDE.md as part of the specification."""
    fragments: list[SpecFragment] = Field([])
    """Pieces written in the score."""


class TechniqueKind(StrEnum):
    """What a technique is made of."""

    SKILL = "skill"
    """A document with a way of working."""
    MCP = "mcp"
    """A server with tools."""
    PROTOCOL = "protocol"
    """A way to work together."""


def _phase_words(value: Any) -> Any:
    if isinstance(value, list):
        return [str(item) if type(item) is int else item for item in value]
    return value


class TechniqueConfig(Strict):
    """A skill that sheets can be given."""

    kind: TechniqueKind
    """What it is made of: skill, mcp or protocol."""
    phases: Annotated[list[str], BeforeValidator(_phase_words)]
    """Movements that have it, by number, or `all`."""
    config: dict[str, Any] = Field({})
    """Its settings, for example the `path` of a skill's document."""


class A2ASkill(Strict):
    """Something the agent offers to others."""

    id: str = Field(min_length=1)
    """Name that others call it by."""
    description: str
    """What it does."""


class AgentCard(Strict):
    """How the agent of this score presents itself to others."""

    name: str = Field(min_length=1)
    """Its name."""
    description: str
    """What it does."""
    skills: list[A2ASkill] = Field([])
    """What it offers."""


class ConductorRole(StrEnum):
    """Who leads the work."""

    HUMAN = "human"
    """A person."""
    AI = "ai"
    """A model."""
    HYBRID = "hybrid"
    """Both."""


class ConductorPreferences(Strict):
    """How the one who leads wants to be dealt with."""

    prefer_minimal_output: bool = False
    """Show as little as possible."""
    escalation_response_timeout_seconds: float = Field(300.0, gt=0)
    """Seconds to wait for an answer to a question."""
    auto_retry_on_transient_errors: bool = True
    """Try again after passing errors without a question."""
    notification_channels: list[str] = Field([])
    """Ways to reach the one who leads."""


class ConductorConfig(Strict):
    """Who leads the work."""

    name: str = Field("default", min_length=1, max_length=100)
    """Their name."""
    role: ConductorRole = ConductorRole.HUMAN
    """A person, a model, or both."""
    identity_context: str | None = Field(None, max_length=500)
    """A few words about them, for prompts."""
    preferences: ConductorPreferences = ConductorPreferences()
    """How they want to be dealt with."""


class MCPServerConfig(Strict):
    """A server with tools for a local model."""

    name: str = Field(min_length=1)
    """Its name."""
    command: str = Field(min_length=1)
    """Program that is the server."""
    args: list[str] = Field([])
    """Its arguments."""
    env: dict[str, str] = Field({})
    """Variables added to its environment."""
    working_dir: str | None = None
    """Directory it runs in."""
    timeout_seconds: float = Field(30.0, gt=0)
    """Seconds to wait for an answer."""


class BridgeConfig(Strict):
    """A local model with tools in place of an agent, for simple sheets."""

    enabled: bool = False
    """Use it."""
    mcp_proxy_enabled: bool = True
    """Offer the servers' tools to the model."""
    mcp_servers: list[MCPServerConfig] = Field([])
    """The servers."""
    hybrid_routing_enabled: bool = False
    """Choose between the local model and an agent by how hard a sheet is."""
    complexity_threshold: float = Field(0.7, ge=0, le=1)
    """Difficulty from which an agent is used, 0 to 1."""
    fallback_to_claude: bool = True
    """Use an agent when the local model fails."""
    context_budget_percent: int = Field(75, ge=10, le=95)
    """Percent of the context window that a prompt may take."""


class FleetScoreEntry(Strict):
    """A score of a fleet."""

    path: str = Field(min_length=1)
    """The score file, relative to the fleet's file."""
    group: str | None = None
    """Group it belongs to."""


class FleetGroupConfig(Strict):
    """A group of a fleet's scores."""

    depends_on: list[str] = Field([])
    """Groups that must be done before."""


class FleetConfig(Strict):
    """Several scores that are run together."""

    name: str = Field(min_length=1)
    """Name of the fleet."""
    type: Literal["fleet"]
    """Marks the file as a fleet."""
    scores: list[FleetScoreEntry] = Field(min_length=1)
    """The scores."""
    groups: dict[str, FleetGroupConfig] = Field({})
    """Order between groups of scores."""
