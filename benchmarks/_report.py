"""How a benchmark says what it measured: one line a ratio, and the machine it holds for."""

from __future__ import annotations

import os
import platform
import tempfile
from statistics import median


def machine(folder: str | None = None) -> str:
    """Interpreter, cores, and the file system that the measured folder lies on."""
    folder = folder or tempfile.gettempdir()
    return (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{os.cpu_count()} cores, {folder} on {_file_system(folder)}"
    )


def _file_system(folder: str) -> str:
    """Kind of the file system that a folder lies on, where /proc tells."""
    device = os.stat(folder).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return "an unknown file system"
    kinds = [fields[fields.index("-") + 1] for fields in mounts if fields[2] == number]
    return kinds[-1] if kinds else "an unknown file system"


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
