"""The socket, its protocol, both clients and the hosts."""

from __future__ import annotations
