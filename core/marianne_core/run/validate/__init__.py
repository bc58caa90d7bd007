"""Validations: what a finished attempt left behind, looked at rule by rule."""

from __future__ import annotations
