"""Instrument profiles: how a command-line agent is called and how its output is read."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from marianne_core.config.base import Pattern, Strict, broken_rule

PROMPT_LIMIT = 32_768
"""Bytes of a prompt from which it goes through stdin, whatever `prompt_via_stdin` says."""


class Capability(StrEnum):
    """Something an instrument can do."""

    TOOL_USE = "tool_use"
    FILE_EDITING = "file_editing"
    SHELL_ACCESS = "shell_access"
    VISION = "vision"
    MCP = "mcp"
    CODE_MODE = "code_mode"
    STRUCTURED_OUTPUT = "structured_output"
    SESSION_RESUME = "session_resume"
    STREAMING = "streaming"
    THINKING = "thinking"


class ModelCapacity(Strict):
    """A model the instrument can use."""

    name: str = Field(min_length=1)
    """Its name, as the instrument knows it."""
    context_window: int | None = Field(None, ge=1)
    """Tokens it can read at once; not given: not known."""
    cost_per_1k_input: float | None = Field(None, ge=0)
    """Price of 1,000 input tokens, in US dollars; not given: not known."""
    cost_per_1k_output: float | None = Field(None, ge=0)
    """Price of 1,000 output tokens, in US dollars; not given: not known."""
    max_output_tokens: int | None = Field(None, ge=1)
    """Longest answer, in tokens."""
    max_concurrent: int = Field(4, ge=1)
    """Most sheets that use the model at once."""


class CodeModeInterface(Strict):
    """Functions that an agent's code may call."""

    name: str = Field(min_length=1)
    """Name of the group of functions."""
    typescript: str
    """Their declarations."""
    description: str | None = None
    """What they are for."""


class CodeModeConfig(Strict):
    """Agents that answer with code to run."""

    interfaces: list[CodeModeInterface] = Field([])
    """What the code may call."""
    runtime: Literal["deno", "node_vm", "v8_isolate"] = "deno"
    """What runs the code."""
    max_execution_ms: int = Field(30000, ge=100)
    """Milliseconds after which the code is ended."""


class CliCommand(Strict):
    """How the program is called; arguments come in the order of these fields."""

    executable: str = Field(min_length=1)
    """The program: a name to look up in PATH, or a path."""
    subcommand: str | None = None
    """First argument."""
    auto_approve_flag: str | None = None
    """Flag that lets the agent act without asking."""
    output_format_flag: str | None = None
    """Flag that chooses the format of the output."""
    output_format_value: str | None = None
    """Value of that flag; without one the flag stands alone."""
    model_flag: str | None = None
    """Flag before the name of the model."""
    timeout_flag: str | None = None
    """Flag before the timeout, in whole seconds."""
    working_dir_flag: str | None = None
    """Flag before the working directory."""
    system_prompt_flag: str | None = None
    """Flag before the system prompt."""
    allowed_tools_flag: str | None = None
    """Flag before the list of tools the agent may use."""
    max_output_flag: str | None = None
    """Flag before the length of the longest answer that the model can give, in tokens, where
    `models` knows it."""
    setting_flags: dict[
        Literal["max_tokens", "temperature", "base_url", "api_key_env", "num_ctx", "keep_alive"],
        str,
    ] = Field({})
    """Flags before further settings of a score: name of the setting to flag. The variable that
    `api_key_env` names is passed on."""
    prompt_flag: str | None = None
    """Flag before the prompt; without one the prompt is a plain argument."""
    prompt_via_stdin: bool = True
    """Hand over the prompt through standard input instead of an argument."""
    stdin_sentinel: str | None = None
    """What stands in the prompt's place when it goes through standard input."""
    mcp_config_flag: str | None = None
    """Flag before the file that names MCP servers."""
    mcp_disable_args: list[str] = Field([])
    """Arguments that keep the agent from MCP servers of the machine."""
    mcp_config_workspace_path: str | None = None
    """File in the workspace that the agent reads its MCP servers from."""
    mcp_config_workspace_merge_key: str | None = None
    """Key of that file under which servers are added."""
    mcp_config_prefix_args: list[str] = Field([])
    """Arguments before the MCP flag."""
    extra_flags: list[str] = Field([])
    """Arguments at the end."""
    env: dict[str, str] = Field({})
    """Variables added to the environment; `${NAME}` is replaced by that variable's value."""
    required_env: list[str] | None = None
    """Variables the program needs; given, it gets these and the system's, else all."""
    start_new_session: bool = False
    """Run in a session of its own; every instrument does, whatever this says."""
    version_args: list[str] = Field([])
    """Arguments with which the program prints its version and leaves; without any it is not asked."""


class CliOutputConfig(Strict):
    """How the output is read. Paths look like `a.b`, `items[0]`, `models.*.tokens`."""

    format: Literal["text", "json", "jsonl"] = "text"
    """Plain text, one JSON value, or one JSON value a line."""
    dialect: Literal["claude", "cline", "codex", "gemini", "http", "opencode", "text"] = "text"
    """Whose events they are: how `mzt logs` makes readable lines of them; text is shown as it is."""
    result_path: str | None = None
    """Where the answer stands."""
    error_path: str | None = None
    """Where an error's text stands."""
    passing_error_path: str | None = None
    """Where the text of an error stands after which the program tries again; it counts when the
    output ends with it (jsonl)."""
    completion_event_type: str | None = None
    """`type` of the line that holds the answer (jsonl)."""
    completion_event_filter: dict[str, Any] | None = None
    """Values that line must have (jsonl)."""
    result_in_pieces: bool = False
    """The answer comes in pieces: those of such lines without another line between them are joined
    (jsonl)."""
    input_tokens_path: str | None = None
    """Where the number of input tokens stands."""
    output_tokens_path: str | None = None
    """Where the number of output tokens stands."""
    more_input_tokens_paths: list[str] = Field([])
    """Where input tokens stand that the first number leaves out (cache); they are added to it."""
    more_output_tokens_paths: list[str] = Field([])
    """Where output tokens stand that the first number leaves out (reasoning); they are added."""
    cost_path: str | None = None
    """Where the cost of the turn in US dollars stands."""
    aggregate_tokens: bool = False
    """Add up all numbers that a path of tokens or cost finds instead of taking the first."""
    usage_of_last_event: bool = False
    """Take tokens and cost of the last line that tells them: they are running totals (jsonl)."""
    usage_pattern: Pattern | None = None
    """Regular expression with groups named `input`, `output` and `cost` (text). Tokens are those of
    the first match (of all, with `aggregate_tokens`), the cost is that of the last; `2k` is 2,000."""


class CliErrorConfig(Strict):
    """How failures are told apart. Patterns are regular expressions, cases alike; they are looked for
    in the error's text, in stderr, and in stdout as far as that is no JSON that `error_path` reads."""

    success_exit_codes: list[Annotated[int, Field(ge=0, le=255)]] = Field([0])
    """Exit statuses that mean success."""
    own_exit_codes: list[Annotated[int, Field(ge=129, le=255)]] = Field([])
    """Exit statuses the program sets by itself; all others of 128+n mean that signal n ended it."""
    success_event_type: str | None = None
    """`type` of the line that reports success; without such a line the attempt has failed (json,
    jsonl)."""
    success_event_filter: dict[str, Any] | None = None
    """Values that line, or a JSON document, must have to report success."""
    success_pattern: Pattern | None = None
    """What the output of a success matches, from the line on where it begins (text)."""
    status_path: str | None = None
    """Where the HTTP status of a refused call stands: 401, 403, 408, 429, 503, 504 and 529 say what
    kind of failure it is before any pattern does."""
    rate_limit_patterns: list[Pattern] = Field([])
    """Output that means a rate limit."""
    auth_error_patterns: list[Pattern] = Field([])
    """Output that means refused credentials."""
    capacity_patterns: list[Pattern] = Field([])
    """Output that means an overloaded service."""
    connection_patterns: list[Pattern] = Field([])
    """Output that means that the service could not be reached."""
    timeout_patterns: list[Pattern] = Field([])
    """Output that means the service took too long."""
    answer_patterns: list[Pattern] = Field([])
    """Output that means that the service's answer cannot be used."""
    crash_patterns: list[Pattern] = Field([])
    """Output that means the program crashed."""
    stale_patterns: list[Pattern] = Field([])
    """Output that means the program hung."""
    rate_limit_event_type: str | None = None
    """`type` of a line that reports a rate limit (jsonl)."""
    rate_limit_event_filter: dict[str, Any] | None = None
    """Values that line must have (jsonl)."""
    rate_limit_reset_path: str | None = None
    """Path to the end of the limit in that line (jsonl), where it tells other times too; absent: the
    last time in it counts."""


class StartupGate(Strict):
    """A question of the program's screen that is answered before work begins."""

    pattern: Pattern
    """Regular expression that the screen matches."""
    keys: list[str] = Field(["Enter"])
    """Keys to press."""


class InteractiveConfig(Strict):
    """How the program's own screen is driven."""

    enabled_by_default: bool = True
    """Drive the screen unless a score says `interactive: false`."""
    subcommand: str | None = None
    """First argument."""
    inherit_auto_approve: bool = True
    """Add the command's approval flag."""
    inherit_mcp_disable_args: bool = True
    """Add the command's arguments against MCP servers."""
    extra_args: list[str] = Field([])
    """Arguments at the end."""
    startup_gates: list[StartupGate] = Field([])
    """Questions to answer first."""
    ready_pattern: Pattern
    """Screen that waits for a prompt."""
    busy_patterns: list[Pattern] = Field([])
    """Screen while the agent works."""
    rate_limit_patterns: list[Pattern] = Field([])
    """Screen that means a rate limit."""
    auth_error_patterns: list[Pattern] = Field([])
    """Screen that means refused credentials."""
    capacity_patterns: list[Pattern] = Field([])
    """Screen that means an overloaded service."""
    crash_screen_patterns: list[Pattern] = Field([])
    """Screen that means the program crashed."""
    quiet_seconds: float = Field(15.0, gt=0)
    """Seconds without a change after which a ready screen counts as done."""
    poll_interval_seconds: float = Field(2.0, gt=0)
    """Seconds between two looks at the screen."""
    startup_timeout_seconds: float = Field(90.0, gt=0)
    """Seconds the program may take to be ready."""
    terminal_width: int = Field(200, ge=40)
    """Columns of the screen."""
    terminal_height: int = Field(50, ge=10)
    """Lines of the screen."""
    volatile_tail_lines: int = Field(2, ge=0)
    """Lines at the bottom that change by themselves and do not count as work."""


class LoginHints(Strict):
    """Where a login of the program is seen without a turn. One that is not seen may be there all the
    same: in the system's keyring, or in settings that only the program understands."""

    needed: bool = True
    """Whether the program needs a login at all; a turn on one that needs none costs nothing."""
    env: list[str] = Field([])
    """Variables that carry a login; one of them is enough."""
    files: list[str] = Field([])
    """Files that hold a login; one of them is enough. `~` is the home directory, `${NAME:-OTHER}`
    is a variable's value, or OTHER where it is not set."""
    hint: str | None = None
    """What a person does to log in."""


class CliProfile(Strict):
    """An instrument that is a program."""

    command: CliCommand
    """How it is called."""
    output: CliOutputConfig = CliOutputConfig()
    """How its output is read."""
    errors: CliErrorConfig = CliErrorConfig()
    """How its failures are told apart."""
    login: LoginHints | None = None
    """Where its login is seen; not given: nothing is known about it."""
    interactive: InteractiveConfig | None = None
    """How its own screen is driven."""


class HttpProfile(Strict):
    """An instrument that is a model behind HTTP."""

    base_url: str = Field(min_length=1)
    """Address of the service. ANTHROPIC_BASE_URL, OPENAI_BASE_URL and OLLAMA_HOST put another in the
    place of these services' own ones."""
    endpoint: str = "/v1/chat/completions"
    """Path of the call."""
    schema_family: Literal["openai", "anthropic", "ollama", "gemini"]
    """Whose format requests and answers have; `openai` with the path `/api/chat` is Ollama's, gemini is
    not supported."""
    auth_env_var: str | None = None
    """Environment variable that holds the key; the program gets no other key."""


class InstrumentProfile(Strict):
    """An instrument: what it is, what it can do, how it is played."""

    name: str = Field(min_length=1)
    """Name that scores use."""
    display_name: str = Field(min_length=1)
    """Name that people are shown."""
    description: str | None = None
    """What it is."""
    kind: Literal["cli", "http"]
    """A program, or a model behind HTTP."""
    capabilities: frozenset[Capability] = frozenset()
    """What it can do."""
    code_mode: CodeModeConfig | None = None
    """Answers that are code to run."""
    models: list[ModelCapacity] = Field([])
    """Models it can use."""
    default_model: str | None = None
    """Model that is used when a score names none."""
    default_timeout_seconds: float = Field(1800.0, gt=0)
    """Longest run of one attempt, in seconds, when a score says nothing else."""
    raw_prompt: bool = False
    """Send the rendered template alone, without preamble, injections and requirements."""
    execution_status: Literal["ready", "warning", "unsupported"] = "ready"
    """Whether it is known to work."""
    execution_status_detail: str | None = None
    """What is known about it."""
    cli: CliProfile | None = None
    """The program; needed for `kind: cli`."""
    http: HttpProfile | None = None
    """The service; needed for `kind: http`."""

    @model_validator(mode="after")
    def _has_its_kind(self) -> InstrumentProfile:
        if getattr(self, self.kind) is None:
            raise broken_rule(f"`kind: {self.kind}` needs a `{self.kind}` block", "kind")
        return self

    @model_validator(mode="after")
    def _models_differ(self) -> InstrumentProfile:
        seen: set[str] = set()
        for place, model in enumerate(self.models):
            if model.name in seen:
                raise broken_rule(f"the model {model.name!r} is listed twice", "models", place)
            seen.add(model.name)
        return self

    def model(self, name: str | None) -> ModelCapacity | None:
        """What is known about a model (None: the default one), or None."""
        wanted = name or self.default_model
        return next((model for model in self.models if model.name == wanted), None)
