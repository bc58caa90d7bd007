"""What a person writes: scores, instrument profiles, conductor.yaml, and the checks on them.

The names below are loaded when they are first used, so that importing this package, or a module
of it that needs no models, costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marianne_core.config.checks import check_score as check_score
    from marianne_core.config.daemon import DaemonConfig as DaemonConfig
    from marianne_core.config.daemon import find_config_file as find_config_file
    from marianne_core.config.daemon import load_daemon_config as load_daemon_config
    from marianne_core.config.daemon import read_daemon_config as read_daemon_config
    from marianne_core.config.daemon_parts import McpPoolConfig as McpPoolConfig
    from marianne_core.config.daemon_parts import McpServerEntry as McpServerEntry
    from marianne_core.config.daemon_parts import ObserverConfig as ObserverConfig
    from marianne_core.config.daemon_parts import PreflightConfig as PreflightConfig
    from marianne_core.config.daemon_parts import ResourceLimitConfig as ResourceLimitConfig
    from marianne_core.config.daemon_parts import SemanticLearningConfig as SemanticLearningConfig
    from marianne_core.config.daemon_parts import SocketConfig as SocketConfig
    from marianne_core.config.effects import NOT_YET_IN_EFFECT as NOT_YET_IN_EFFECT
    from marianne_core.config.effects import accepted_not_in_effect as accepted_not_in_effect
    from marianne_core.config.instrument import CliCommand as CliCommand
    from marianne_core.config.instrument import CliErrorConfig as CliErrorConfig
    from marianne_core.config.instrument import CliOutputConfig as CliOutputConfig
    from marianne_core.config.instrument import CliProfile as CliProfile
    from marianne_core.config.instrument import CodeModeConfig as CodeModeConfig
    from marianne_core.config.instrument import CodeModeInterface as CodeModeInterface
    from marianne_core.config.instrument import HttpProfile as HttpProfile
    from marianne_core.config.instrument import InstrumentProfile as InstrumentProfile
    from marianne_core.config.instrument import InteractiveConfig as InteractiveConfig
    from marianne_core.config.instrument import ModelCapacity as ModelCapacity
    from marianne_core.config.load import Score as Score
    from marianne_core.config.load import ScoreError as ScoreError
    from marianne_core.config.load import load_fleet as load_fleet
    from marianne_core.config.load import load_score as load_score
    from marianne_core.config.load import score_from_text as score_from_text
    from marianne_core.config.profiles import KNOWN_INSTRUMENTS as KNOWN_INSTRUMENTS
    from marianne_core.config.profiles import Profiles as Profiles
    from marianne_core.config.profiles import Resolution as Resolution
    from marianne_core.config.profiles import load_profiles as load_profiles
    from marianne_core.config.profiles import profile_directories as profile_directories
    from marianne_core.config.read import ConfigError as ConfigError
    from marianne_core.config.read import FileError as FileError
    from marianne_core.config.read import ProfileError as ProfileError
    from marianne_core.config.score.chaining import ConcertConfig as ConcertConfig
    from marianne_core.config.score.chaining import NotificationConfig as NotificationConfig
    from marianne_core.config.score.chaining import PostSuccessHookConfig as PostSuccessHookConfig
    from marianne_core.config.score.execution import CircuitBreakerConfig as CircuitBreakerConfig
    from marianne_core.config.score.execution import CostLimitConfig as CostLimitConfig
    from marianne_core.config.score.execution import ParallelConfig as ParallelConfig
    from marianne_core.config.score.execution import RateLimitConfig as RateLimitConfig
    from marianne_core.config.score.execution import RetryConfig as RetryConfig
    from marianne_core.config.score.execution import StaleDetectionConfig as StaleDetectionConfig
    from marianne_core.config.score.extras import A2ASkill as A2ASkill
    from marianne_core.config.score.extras import AgentCard as AgentCard
    from marianne_core.config.score.extras import BridgeConfig as BridgeConfig
    from marianne_core.config.score.extras import ConductorConfig as ConductorConfig
    from marianne_core.config.score.extras import ConductorPreferences as ConductorPreferences
    from marianne_core.config.score.extras import ConductorRole as ConductorRole
    from marianne_core.config.score.extras import FleetConfig as FleetConfig
    from marianne_core.config.score.extras import FleetGroupConfig as FleetGroupConfig
    from marianne_core.config.score.extras import FleetScoreEntry as FleetScoreEntry
    from marianne_core.config.score.extras import MCPServerConfig as MCPServerConfig
    from marianne_core.config.score.extras import SpecCorpusConfig as SpecCorpusConfig
    from marianne_core.config.score.extras import SpecFragment as SpecFragment
    from marianne_core.config.score.extras import TechniqueConfig as TechniqueConfig
    from marianne_core.config.score.extras import TechniqueKind as TechniqueKind
    from marianne_core.config.score.instruments import BackendConfig as BackendConfig
    from marianne_core.config.score.instruments import InstrumentDef as InstrumentDef
    from marianne_core.config.score.instruments import InstrumentSettings as InstrumentSettings
    from marianne_core.config.score.instruments import MovementDef as MovementDef
    from marianne_core.config.score.instruments import OllamaConfig as OllamaConfig
    from marianne_core.config.score.instruments import RecursiveLightConfig as RecursiveLightConfig
    from marianne_core.config.score.instruments import SheetBackendOverride as SheetBackendOverride
    from marianne_core.config.score.job import JobConfig as JobConfig
    from marianne_core.config.score.learning import AutoApplyConfig as AutoApplyConfig
    from marianne_core.config.score.learning import CheckpointConfig as CheckpointConfig
    from marianne_core.config.score.learning import (
        CheckpointTriggerConfig as CheckpointTriggerConfig,
    )
    from marianne_core.config.score.learning import EntropyResponseConfig as EntropyResponseConfig
    from marianne_core.config.score.learning import (
        ExplorationBudgetConfig as ExplorationBudgetConfig,
    )
    from marianne_core.config.score.learning import GroundingConfig as GroundingConfig
    from marianne_core.config.score.learning import GroundingHookConfig as GroundingHookConfig
    from marianne_core.config.score.learning import LearningConfig as LearningConfig
    from marianne_core.config.score.prompt import PromptConfig as PromptConfig
    from marianne_core.config.score.sheet import FanOutStage as FanOutStage
    from marianne_core.config.score.sheet import InjectionCategory as InjectionCategory
    from marianne_core.config.score.sheet import InjectionItem as InjectionItem
    from marianne_core.config.score.sheet import SheetConfig as SheetConfig
    from marianne_core.config.score.sheet import SkipWhenCommand as SkipWhenCommand
    from marianne_core.config.score.surroundings import AIReviewConfig as AIReviewConfig
    from marianne_core.config.score.surroundings import CodeExecutionConfig as CodeExecutionConfig
    from marianne_core.config.score.surroundings import CrossSheetConfig as CrossSheetConfig
    from marianne_core.config.score.surroundings import FeedbackConfig as FeedbackConfig
    from marianne_core.config.score.surroundings import IsolationConfig as IsolationConfig
    from marianne_core.config.score.surroundings import IsolationMode as IsolationMode
    from marianne_core.config.score.surroundings import JudgmentConfig as JudgmentConfig
    from marianne_core.config.score.surroundings import LogConfig as LogConfig
    from marianne_core.config.score.surroundings import (
        WorkspaceLifecycleConfig as WorkspaceLifecycleConfig,
    )
    from marianne_core.config.score.validation import ValidationRule as ValidationRule

_HOMES = {
    "load": "Score ScoreError load_fleet load_score score_from_text",
    "read": "ConfigError FileError ProfileError",
    "checks": "check_score",
    "effects": "NOT_YET_IN_EFFECT accepted_not_in_effect",
    "score.job": "JobConfig",
    "score.sheet": "SheetConfig InjectionCategory InjectionItem SkipWhenCommand FanOutStage",
    "score.prompt": "PromptConfig",
    "score.instruments": "InstrumentDef MovementDef BackendConfig OllamaConfig RecursiveLightConfig SheetBackendOverride InstrumentSettings",
    "score.execution": "RetryConfig RateLimitConfig CircuitBreakerConfig CostLimitConfig StaleDetectionConfig ParallelConfig",
    "score.validation": "ValidationRule",
    "score.surroundings": "CrossSheetConfig FeedbackConfig IsolationMode IsolationConfig WorkspaceLifecycleConfig LogConfig AIReviewConfig CodeExecutionConfig JudgmentConfig",
    "score.learning": "LearningConfig ExplorationBudgetConfig EntropyResponseConfig AutoApplyConfig GroundingConfig GroundingHookConfig CheckpointConfig CheckpointTriggerConfig",
    "score.chaining": "NotificationConfig PostSuccessHookConfig ConcertConfig",
    "score.extras": "SpecCorpusConfig SpecFragment TechniqueKind TechniqueConfig AgentCard A2ASkill ConductorConfig ConductorRole ConductorPreferences BridgeConfig MCPServerConfig FleetConfig FleetScoreEntry FleetGroupConfig",
    "instrument": "InstrumentProfile CliProfile CliCommand CliOutputConfig CliErrorConfig HttpProfile InteractiveConfig ModelCapacity CodeModeConfig CodeModeInterface",
    "profiles": "KNOWN_INSTRUMENTS Profiles Resolution load_profiles profile_directories",
    "daemon": "DaemonConfig find_config_file load_daemon_config read_daemon_config",
    "daemon_parts": "SocketConfig ResourceLimitConfig ObserverConfig SemanticLearningConfig PreflightConfig McpPoolConfig McpServerEntry",
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
