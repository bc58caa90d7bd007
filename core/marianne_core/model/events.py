"""What happened: the line every view, log and stream is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job or a sheet. Names follow the existing protocol."""

    event: str
    """`job.started`, `sheet.completed`, ... (field reference, section 7)."""
    job_id: str = ""
    run: int = 0
    """Number of the run within the job, from 1."""
    sheet_num: int = 0
    """0 when it concerns the whole job."""
    timestamp: float = 0.0
    """Wall clock, seconds since the epoch."""
    data: dict[str, Any] = field(default_factory=dict)
    """JSON-safe details; `reason` is a line for people."""

    def to_dict(self) -> dict[str, Any]:
        """The event as the protocol and NDJSON carry it."""
        return {
            "job_id": self.job_id,
            "run": self.run,
            "sheet_num": self.sheet_num,
            "event": self.event,
            "data": self.data,
            "timestamp": self.timestamp,
        }
