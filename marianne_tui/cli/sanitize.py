"""Text that others wrote, made safe for a terminal: the words of `marianne_core.read.printable`."""

from __future__ import annotations

from marianne_core.read.printable import StreamCleaner, clean, one_line, shown

__all__ = ["StreamCleaner", "clean", "one_line", "shown"]
