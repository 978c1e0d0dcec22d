"""Where a run took place: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def describe() -> dict[str, object]:
    """What someone needs to know who compares two runs."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "atoll": version("atoll"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "compiler": platform.python_compiler(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "processor": _processor(),
        "cores": os.process_cpu_count(),
        "flags": " ".join(sys.warnoptions) or None,
    }


def _commit() -> str:
    """The commit of this checkout, with a mark if the tree differs from it."""
    git = ["git", "-c", "safe.directory=*", "-C", str(Path(__file__).parent)]
    try:
        name = subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True).strip()
        # What a run writes itself is no change that matters to it.
        sources = [":/", ":!/bench/results", ":!/README.md"]
        changed = subprocess.check_output([*git, "status", "--porcelain", "-uno", "--", *sources], text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name} with changes" if changed else name


def _processor() -> str:
    """The model that the kernel names."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
