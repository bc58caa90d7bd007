"""Names of runs: `job`, or `job#3` for its third run."""

from __future__ import annotations

from typing import NamedTuple

from marianne_core.model.errors import InputError


class JobRef(NamedTuple):
    """What a person types to name a job: its id, and the number of a run or None for the newest."""

    job_id: str
    run: int | None = None

    @classmethod
    def parse(cls, text: str) -> JobRef:
        """Read `job` or `job#3`. Raises InputError when it is neither."""
        name, sep, number = text.partition("#")
        if not _is_text(name) or (sep and not _is_run(number)):
            raise InputError(
                f"{text!r} does not name a job", hint="write JOB or JOB#RUN, for example hello#2"
            )
        return cls(name, int(number) if sep else None)

    def __str__(self) -> str:
        return self.job_id if self.run is None else f"{self.job_id}#{self.run}"


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        # Bytes of a command line that are not UTF-8; no job has such an id.
        return False


def _is_run(number: str) -> bool:
    return number.isascii() and number.isdecimal() and len(number) < 10 and int(number) > 0
