"""One command a file; each module has its click command in `command`."""

from __future__ import annotations
