"""Commands of `mzt`, one file each."""

from __future__ import annotations
