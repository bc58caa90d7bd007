"""What programs wrote, made fit for people: printable, without credentials, in readable lines.

Standard library alone, so that every view and every fast command may use it.
"""

from __future__ import annotations
