"""Themes of the dashboard (made when its work comes)."""

from __future__ import annotations
