"""The program that asks a model over HTTP: one prompt in, one answer out, its events on stdout.

An instrument of kind http is played like any other program, so that its turn outlives the conductor
and its output goes to files; this is that program. It is started for every attempt, so it uses the
standard library alone and imports little of it, and nothing else of the house.
"""

from __future__ import annotations

from os.path import dirname, join

PROGRAM = join(dirname(__file__), "__main__.py")
"""What is given to the interpreter. By its path: with `-I` and `-S` the interpreter starts fast and
takes nothing from the environment, but finds no package by its name."""

OPTIONS = ("-I", "-S", "-X", "utf8")
"""What the interpreter itself is given."""
