"""How a benchmark says what it measured: one line a ratio, and the machine it holds for."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from statistics import median


def machine(folder: str | None = None) -> str:
    """Interpreter, cores, and the file system that the measured folder lies on."""
    folder = folder or tempfile.gettempdir()
    try:
        kind = subprocess.run(
            ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        kind = "unknown file system"
    return (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{os.cpu_count()} cores, {kind}"
    )


def ratio(
    name: str, ours: list[float], bare: list[float], *, unit: str = "ms", target: str = ""
) -> float:
    """Print both medians and their ratio; samples are seconds. Returns the ratio."""
    scale = {"s": 1.0, "ms": 1e3, "µs": 1e6}[unit]
    a, b = median(ours), median(bare)
    wanted = f"  (target {target})" if target else ""
    print(
        f"{name}: {a * scale:.2f} {unit} against {b * scale:.2f} {unit} bare = {a / b:.2f} x{wanted}",
        flush=True,
    )
    return a / b
