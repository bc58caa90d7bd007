"""Who plays a sheet: instrument, model, settings and timeout, with the place each came from.

Field reference, section 1.2, and the order of timeouts in the design, section 9. Sheets that
are told the same share one `InstrumentChoice`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from marianne_core.config.instrument import Capability, InstrumentProfile
from marianne_core.config.profiles import ALIASES
from marianne_core.config.score.instruments import MovementDef
from marianne_core.config.score.job import JobConfig

DEFAULT_TIMEOUT = 1800.0
"""Seconds, for an instrument without a profile."""


class Profiles(Protocol):
    """Where profiles are looked up by name; a dict will do."""

    def get(self, name: str, /) -> InstrumentProfile | None:
        """The profile of that name, or None."""
        ...


_TOOLS = {Capability.TOOL_USE, Capability.FILE_EDITING, Capability.SHELL_ACCESS}


@dataclass(frozen=True, slots=True)
class InstrumentChoice:
    """An instrument with all its settings, as a sheet or a fallback uses it."""

    profile: str
    """Name of the profile: aliases are resolved."""
    alias: str | None
    """Name in the score's `instruments` that led here, or None."""
    model: str | None
    """Model to ask for, or None for the instrument's own choice."""
    config: Mapping[str, Any]
    """Settings, merged; `cli_model` has become `model`. Shared: do not change."""
    timeout: float
    """Seconds one attempt may take."""
    timeout_source: str
    """The field of the score, or the profile, that says so."""
    raw_prompt: bool
    """True: only the rendered template is sent."""
    only_answers: bool
    """True: a model without tools; its answer is all that it can give."""
    playable: bool
    """False: there is no profile of that name that this version can play."""


class _Layer(NamedTuple):
    """Settings from one place of the score."""

    source: str
    settings: Mapping[str, Any]
    sheet_override: float | None = None
    """A timeout that this place gives the sheet in question alone."""
    owner: str | None = None
    """Profile that a model named here is meant for; None = whichever uses the layer."""


class Instruments:
    """Resolves instruments for the sheets of one score."""

    def __init__(self, config: JobConfig, profiles: Profiles) -> None:
        self._config = config
        self._profiles = profiles
        self._mapped = {
            number: name
            for name, numbers in config.sheet.instrument_map.items()
            for number in numbers
        }
        self._backend = backend_settings(config)
        self._single = self._sheets_with_settings()
        self._stages = {n for n, each in config.movements.items() if _says_something(each)}
        self._cache: dict[
            tuple[str | None, int], tuple[InstrumentChoice, tuple[InstrumentChoice, ...]]
        ] = {}

    def of(self, sheet: int, stage: int) -> tuple[InstrumentChoice, tuple[InstrumentChoice, ...]]:
        """The instrument of a sheet, and those that may take its place, in order."""
        if sheet in self._single:
            return self._resolve(sheet, stage)
        key = (self._own(sheet), stage if stage in self._stages else 0)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._resolve(sheet, stage)
        return found

    def _own(self, sheet: int) -> str | None:
        """The instrument that the score gives the sheet by its number."""
        return self._config.sheet.per_sheet_instruments.get(sheet) or self._mapped.get(sheet)

    def _sheets_with_settings(self) -> set[int]:
        """Sheets that the score gives settings by their number."""
        sheet, backend = self._config.sheet, self._config.backend
        single = {*sheet.per_sheet_instrument_config, *sheet.per_sheet_fallbacks}
        single.update(backend.timeout_overrides, backend.sheet_overrides)
        everywhere = [self._config.instrument_config, *sheet.per_sheet_instrument_config.values()]
        everywhere += [alias.config for alias in self._config.instruments.values()]
        everywhere += [each.instrument_config for each in self._config.movements.values()]
        for settings in everywhere:
            # Not `|=`: with the keys of a dict that copies the whole set.
            single.update(settings.get("timeout_overrides", {}))
        return single

    def _resolve(
        self, sheet: int, stage: int
    ) -> tuple[InstrumentChoice, tuple[InstrumentChoice, ...]]:
        config = self._config
        movement = config.movements.get(stage)
        base = config.primary_instrument
        own = self._own(sheet)
        of_stage = movement.instrument if movement is not None and movement.instrument else base
        name = own or of_stage
        primary = self._profile_of(name)

        below = self._base_layers(sheet, self._profile_of(base))
        if movement is not None and own is None:
            source = f"movements.{stage}.instrument_config"
            owner = self._profile_of(of_stage)
            below.append(_layer(source, movement.instrument_config, sheet, owner))
        above: list[_Layer] = []
        own_settings = config.sheet.per_sheet_instrument_config.get(sheet)
        if own_settings:
            source = f"sheet.per_sheet_instrument_config.{sheet}"
            above.append(_layer(source, own_settings, sheet, primary))

        fallbacks = config.instrument_fallbacks
        if movement is not None and (
            movement.instrument_fallbacks or "instrument_fallbacks" in movement.model_fields_set
        ):
            fallbacks = movement.instrument_fallbacks
        fallbacks = config.sheet.per_sheet_fallbacks.get(sheet, fallbacks)
        return (
            self._choice(name, sheet, below, above, is_fallback=False),
            tuple(self._choice(each, sheet, below, above, is_fallback=True) for each in fallbacks),
        )

    def _base_layers(self, sheet: int, owner: str) -> list[_Layer]:
        """Settings for every sheet: the older `backend` block, then `instrument_config`."""
        backend = self._config.backend
        override = backend.sheet_overrides.get(sheet)
        seconds = backend.timeout_overrides.get(sheet)
        layers = [_Layer("backend", self._backend, seconds, owner)]
        if override is not None:
            settings = override.model_dump(exclude_unset=True, exclude={"timeout_seconds"})
            source = f"backend.sheet_overrides.{sheet}"
            layers.append(_Layer(source, settings, override.timeout_seconds, owner))
        layers.append(_layer("instrument_config", self._config.instrument_config, sheet, owner))
        return layers

    def _follow(self, name: str) -> tuple[str, list[str]]:
        """The profile behind a name, and the aliases on the way to it."""
        name, aliases = self._config.behind(name)
        profile = self._profiles.get(name)
        return (profile.name if profile is not None else ALIASES.get(name, name)), aliases

    def _profile_of(self, name: str) -> str:
        return self._follow(name)[0]

    def _choice(
        self, name: str, sheet: int, below: list[_Layer], above: list[_Layer], *, is_fallback: bool
    ) -> InstrumentChoice:
        profile_name, aliases = self._follow(name)
        profile = self._profiles.get(profile_name)
        layers = list(below)
        for alias in reversed(aliases):
            settings = self._config.instruments[alias].config
            layers.append(_layer(f"instruments.{alias}.config", settings, sheet, None))
        layers += above
        merged: dict[str, Any] = {}
        timeout = profile.default_timeout_seconds if profile is not None else DEFAULT_TIMEOUT
        source = f"profile {profile_name}"
        for layer in layers:
            settings = dict(layer.settings)
            if layer.owner not in (None, profile_name):
                for key in _OF_ONE_SERVICE:
                    settings.pop(key, None)
            model = settings.pop("cli_model", None)
            model = settings.pop("model", None) or model
            # A model belongs to the instrument it was written for: a fallback of another kind
            # must not be asked for it.
            if model and not (is_fallback and layer.owner not in (None, profile_name)):
                settings["model"] = model
            merged.update(settings)
            if settings.get("timeout_seconds") is not None:
                timeout, source = settings["timeout_seconds"], f"{layer.source}.timeout_seconds"
        for layer in layers:
            if layer.sheet_override is not None:
                timeout, source = layer.sheet_override, _override_source(layer, sheet)
        default_model = profile.default_model if profile is not None else None
        return InstrumentChoice(
            profile=profile_name,
            alias=aliases[0] if aliases else None,
            model=merged.get("model") or default_model,
            config=merged,
            timeout=float(timeout),
            timeout_source=source,
            raw_prompt=profile.raw_prompt if profile is not None else False,
            only_answers=profile is not None and _only_answers(profile),
            playable=profile is not None,
        )


def _only_answers(profile: InstrumentProfile) -> bool:
    """A program may have tools that its profile does not speak of; a model behind HTTP has none."""
    return profile.kind == "http" and not profile.capabilities & _TOOLS


def _says_something(movement: MovementDef) -> bool:
    """Whether a movement says who plays it, or how."""
    fallbacks = movement.instrument_fallbacks or "instrument_fallbacks" in movement.model_fields_set
    return bool(movement.instrument or movement.instrument_config or fallbacks)


def _layer(source: str, settings: Mapping[str, Any], sheet: int, owner: str | None) -> _Layer:
    return _Layer(source, settings, settings.get("timeout_overrides", {}).get(sheet), owner)


def _override_source(layer: _Layer, sheet: int) -> str:
    if layer.source.startswith("backend.sheet_overrides"):
        return f"{layer.source}.timeout_seconds"
    return f"{layer.source}.timeout_overrides.{sheet}"


_OF_ONE_SERVICE = ("base_url", "api_key_env")
"""What is meant for one instrument alone: no other service is to get its key."""

_NOT_SETTINGS = {
    "type",
    "timeout_overrides",
    "sheet_overrides",
    "ollama",
    "recursive_light",
    "max_output_capture_bytes",
}
_OF_OLLAMA = {"base_url", "model", "num_ctx", "keep_alive", "timeout_seconds"}


def backend_settings(config: JobConfig) -> dict[str, Any]:
    """What a person really wrote in the older `backend` block, as instrument settings.

    Its defaults are not settings: they would hide those of the instrument's profile. Its block about
    Ollama is for a score that plays on it.
    """
    backend = config.backend
    settings = backend.model_dump(exclude_unset=True, exclude=_NOT_SETTINGS)
    if config.primary_instrument == "ollama":
        settings |= backend.ollama.model_dump(exclude_unset=True, include=_OF_OLLAMA)
    return settings
