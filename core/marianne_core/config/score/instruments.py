"""Who plays: instruments, movements, and the older `backend` block."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from marianne_core.config.base import KeysOf, SheetNumber, Strict, integer_keys

Seconds = Annotated[float, Field(gt=0)]


def _comma_list(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


class InstrumentSettings(Strict):
    """The keys of `instrument_config` and of every other instrument configuration in a score."""

    model: str | None = None
    """Model the instrument is asked to use."""
    cli_model: str | None = None
    """Another name of `model`; `model` wins."""
    timeout_seconds: Seconds | None = None
    """Longest run of one attempt, in seconds; longer ones are ended."""
    timeout_overrides: dict[SheetNumber, Seconds] = Field({})
    """Longest run of an attempt of single sheets: sheet number to seconds."""
    allowed_tools: Annotated[list[str], BeforeValidator(_comma_list)] | None = None
    """Tools the agent may use, where its profile has a flag for them."""
    skip_permissions: bool | None = None
    """Let the agent act without asking; its profile's approval flag is left out when false."""
    disable_mcp: bool | None = None
    """Keep the agent from MCP servers of the machine."""
    interactive: bool | None = None
    """Drive the agent through its own screen where its profile can."""
    max_tokens: int | None = Field(None, ge=1)
    """Longest answer of a model that is called over HTTP, in tokens."""
    temperature: float | None = Field(None, ge=0, le=2)
    """Sampling temperature of a model that is called over HTTP; else the service's own."""
    api_key_env: str | None = None
    """Environment variable that holds the key of a model that is called over HTTP."""
    base_url: str | None = None
    """Address of a model that is called over HTTP, instead of its profile's."""
    num_ctx: int | None = Field(None, ge=1)
    """Context window of a model that runs in Ollama, in tokens; 32768 if it is not given."""
    keep_alive: str | None = None
    """How long Ollama keeps the model in memory."""
    system_prompt: str | None = None
    """System prompt, where the instrument takes one."""
    system_prompt_file: str | None = None
    """File that holds the system prompt, relative to the score file, where the profile has a flag
    for it."""
    working_directory: str | None = None
    """Directory the instrument runs in, relative to the workspace; else the workspace."""
    output_format: str | None = None
    """Format the instrument is asked to print."""
    cli_extra_args: list[str] = Field([])
    """Arguments added at the end of the instrument's command line."""


def _known_settings_are_right(settings: dict[str, Any]) -> dict[str, Any]:
    """Check the settings that we know; what else a person wrote stays, and is reported later."""
    known = {
        key: value for key, value in settings.items() if key in InstrumentSettings.model_fields
    }
    checked = InstrumentSettings.model_validate(known).model_dump(exclude_unset=True)
    return {**settings, **checked}


InstrumentConfig = Annotated[
    dict[str, Any],
    BeforeValidator(integer_keys),
    AfterValidator(_known_settings_are_right),
    KeysOf(InstrumentSettings),
]
"""Settings of an instrument: keys of `InstrumentSettings`, with numbers really numbers."""


class InstrumentDef(Strict):
    """An alias: a name of this score for an instrument with settings."""

    profile: str = Field(min_length=1)
    """Name of the instrument behind the alias."""
    config: InstrumentConfig = Field({})
    """Settings that come with the alias."""


class MovementDef(Strict):
    """A stage of the score: its name and who plays it."""

    name: str | None = None
    """Name of the movement, shown in status and events."""
    instrument: str | None = Field(None, min_length=1)
    """Instrument or alias of the movement's sheets."""
    instrument_config: InstrumentConfig = Field({})
    """Instrument settings of the movement's sheets; win over the score's."""
    voices: int | None = Field(None, ge=1)
    """Number of voices of the movement."""
    instrument_fallbacks: list[str] = Field([])
    """Fallback instruments of the movement's sheets; win over the score's."""


class RecursiveLightConfig(Strict):
    """The `recursive_light` server; not supported, read so that old files load."""

    endpoint: str = "http://localhost:8080"
    """Address of the server."""
    user_id: str | None = None
    """Name the server knows the caller by."""
    timeout: float = Field(30.0, gt=0)
    """Seconds to wait for an answer."""


class OllamaConfig(Strict):
    """A model that runs in Ollama."""

    base_url: str = "http://localhost:11434"
    """Address of the Ollama server."""
    model: str = "llama3.1:8b"
    """Model to load."""
    num_ctx: int = Field(32768, ge=4096)
    """Context window, in tokens."""
    dynamic_tools: bool = True
    """Offer tools by need instead of all at once."""
    compression_level: str = "moderate"
    """How much tool descriptions are shortened."""
    timeout_seconds: float = Field(300.0, gt=0)
    """Seconds to wait for an answer."""
    keep_alive: str = "5m"
    """How long the server keeps the model in memory."""
    max_tool_iterations: int = Field(10, ge=1, le=50)
    """Most rounds of tool calls in one attempt."""
    health_check_timeout: float = Field(10.0, gt=0)
    """Seconds to wait for a sign of life of the server."""


class SheetBackendOverride(Strict):
    """Settings of the `backend` block for one sheet."""

    cli_model: str | None = None
    """Model of a command-line agent."""
    model: str | None = None
    """Model that is called over HTTP."""
    temperature: float | None = Field(None, ge=0, le=1)
    """Sampling temperature of a model that is called over HTTP."""
    max_tokens: int | None = Field(None, ge=1)
    """Longest answer of a model that is called over HTTP, in tokens."""
    timeout_seconds: Seconds | None = None
    """Longest run of one attempt of the sheet, in seconds."""


class BackendConfig(Strict):
    """The older way to choose an instrument; new scores use `instrument`."""

    type: str = Field("claude_cli", min_length=1)
    """Name of the instrument."""
    skip_permissions: bool = True
    """Let the agent act without asking."""
    disable_mcp: bool = True
    """Keep the agent from MCP servers of the machine."""
    output_format: Literal["text", "json", "stream-json"] | None = None
    """Format the agent is asked to print."""
    cli_model: str | None = None
    """Model of a command-line agent."""
    allowed_tools: list[str] | None = None
    """Tools the agent may use."""
    system_prompt_file: str | None = None
    """File that holds the system prompt, relative to the score file."""
    working_directory: str | None = None
    """Directory the instrument runs in, relative to the workspace; else the workspace."""
    timeout_seconds: float = Field(1800.0, gt=0)
    """Longest run of one attempt, in seconds; counts when written here."""
    timeout_overrides: dict[SheetNumber, Seconds] = Field({})
    """Longest run of an attempt of single sheets: sheet number to seconds."""
    sheet_overrides: dict[SheetNumber, SheetBackendOverride] = Field({})
    """Settings of single sheets."""
    cli_extra_args: list[str] = Field([])
    """Arguments added at the end of the agent's command line."""
    max_output_capture_bytes: int = Field(51200, ge=1)
    """Bytes of output that are kept; all output is kept now."""
    model: str | None = None
    """Model that is called over HTTP."""
    api_key_env: str = "ANTHROPIC_API_KEY"
    """Environment variable that holds the key of a model that is called over HTTP; counts when written
    here."""
    max_tokens: int = Field(16384, ge=1)
    """Longest answer of a model that is called over HTTP, in tokens; counts when written here."""
    temperature: float = Field(0.7, ge=0, le=1)
    """Sampling temperature of a model that is called over HTTP; counts when written here."""
    recursive_light: RecursiveLightConfig = RecursiveLightConfig()
    """Settings of the `recursive_light` server."""
    ollama: OllamaConfig = OllamaConfig()
    """Settings of the Ollama server."""
