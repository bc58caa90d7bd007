"""Pure decisions: which sheet runs next, and what follows from how one ended."""

from __future__ import annotations
