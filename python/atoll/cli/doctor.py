"""say what this machine can host, and which installed packages work where

Packages with compiled modules are imported in a sub-interpreter and in an isolate, each time in a child process.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import textwrap
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import atoll
from atoll._environment import MOST
from atoll.cli.packages import compiled_packages, named_packages
from atoll.cli.probes import Finding, Outcome, examine
from atoll.cli.progress import progress
from atoll.cli.table import clip, columns, fitted, paint
from atoll.interpreters import Capabilities

PROBED = ("interpreter", "isolate")  # the kinds whose imports may differ from plain Python's
PLURAL = {"interpreter": "sub-interpreters", "isolate": "isolates"}
TIMEOUT = 30.0
COLOUR = {"yes": "green", "partly": "yellow", "-": "dim"}  # all else is red
LONGEST_NAME = 28


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "packages",
        metavar="PACKAGE",
        nargs="*",
        help="probe these only, by the name of the distribution or the import (default: all with compiled modules)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")
    parser.add_argument(
        "--jobs", metavar="N", type=_jobs, help="packages probed at the same time (default: one a core)"
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=_seconds,
        default=TIMEOUT,
        help=f"seconds after which an import counts as hung (default: {TIMEOUT:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Look at the machine, probe the packages, and print what came out. 0 if anything can be hosted here, else 1."""
    here = atoll.capabilities()
    kinds = [kind for kind in PROBED if here[kind].available]
    packages = named_packages(arguments.packages) if arguments.packages else compiled_packages()
    if not arguments.json:
        print(machine_text(here), flush=True)
    findings = examine(
        packages if kinds else [],
        kinds,
        jobs=arguments.jobs or here.cores,
        timeout=arguments.timeout,
        watch=partial(progress, unit="imports", lines=0),
    )
    if arguments.json:
        print(json.dumps(document(here, findings), indent=2))
    else:
        print(packages_text(findings, kinds))
    return 0 if any(kind.available for kind in here) else 1


# The machine ------------------------------------------------------------------------------------------------------


def machine_text(here: Capabilities) -> str:
    """The part of the report that needs no probes."""
    about = machine(here.c_library)
    memory = about["memory_bytes"]
    rows = [
        ("Atoll", version("atoll")),
        ("Python", f"{platform.python_implementation()} {here.python}, {'with' if here.gil else 'without'} a GIL"),
        ("", sys.executable),
        ("System", f"{about['system']} {about['release']}, {about['architecture']}"),
        ("C library", about["libc"] or "unknown"),
        ("libpython", here.libpython or "none found"),
        ("Cores", str(here.cores)),
        ("Memory", f"{memory / 2**30:.1f} GiB" if memory else "unknown"),
    ]
    kinds = [
        (
            one.kind,
            paint("yes", "green") if one.available else paint("no", "red"),
            f"{one.reason}; {one.remedy}" if one.remedy else one.reason,
        )
        for one in here
    ]
    parts = [
        fitted(["", ""], rows, columns(), wrap=True),
        title("What can host code here") + fitted(["kind", "", "why"], kinds, columns(), wrap=True),
    ]
    if here["isolate"].available:
        parts.append(
            title("Isolates in one process, started by") + fitted(["", ""], isolate_rows(here), columns(), wrap=True)
        )
    return "\n\n".join(parts) + "\n"


def isolate_rows(here: Capabilities) -> list[tuple[str, str]]:
    """How many isolates fit into a process, by how it is started."""
    fit = here.isolates.fit
    if fit >= MOST:
        return [("from here, in any way", f"room for {fit}, as GLIBC_TUNABLES says so")]
    return [("python script.py", f"room for {fit}"), ("atoll run script.py", f"room for {MOST}")]


def title(text: str) -> str:
    """A heading, and the line end after it."""
    return paint(text, "bold") + "\n"


def machine(libc: str) -> dict[str, Any]:
    """What Python runs on."""
    system = platform.uname()
    return {
        "system": system.system,
        "release": system.release,
        "architecture": system.machine,
        "libc": libc,
        "memory_bytes": memory_bytes(),
    }


def memory_bytes() -> int:
    """The memory of the machine, or of the container if that is less; 0 if unknown."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return total


# The packages -----------------------------------------------------------------------------------------------------


def packages_text(findings: Sequence[Finding], kinds: Sequence[str]) -> str:
    """The table of the packages and the advice below it."""
    conclusion = textwrap.fill(advice(findings, kinds), columns(), break_on_hyphens=False)
    if not findings:
        return conclusion
    rows = [row for finding in findings for row in package_rows(finding)]
    heads = ["package", "version", *PROBED, "why not"]
    table = fitted(heads, rows, columns(), wrap=False)
    return f"{title('Packages')}{table}\n\n{conclusion}"


def package_rows(finding: Finding) -> Iterable[list[str]]:
    """The rows of one package: one, or one for each of two different reasons."""
    package = finding.package
    shown = {kind: Outcome("-") if finding.broken else finding.outcomes.get(kind, Outcome("-")) for kind in PROBED}
    cells = [paint(one.verdict, COLOUR.get(one.status, "red")) for one in shown.values()]
    if finding.broken:
        reasons = [f"fails in plain Python: {finding.broken}"]
    else:
        reasons = list(dict.fromkeys(one.reason for one in shown.values() if one.reason)) or [""]
    if len(reasons) > 1:
        reasons = [f"{kind}: {one.reason}" for kind, one in shown.items()]
    yield [clip(package.name, LONGEST_NAME), clip(package.version, 14), *cells, reasons[0]]
    for reason in reasons[1:]:
        yield ["", "", *("" for _ in PROBED), reason]


def count(findings: Iterable[Finding], kind: str) -> int:
    """How many packages work in full in hosts of *kind*."""
    return sum(not one.broken and kind in one.outcomes and one.outcomes[kind].status == "yes" for one in findings)


def advice(findings: Sequence[Finding], kinds: Sequence[str]) -> str:
    """One line that says what to do."""
    total = sum(not one.broken for one in findings)
    if not kinds:
        return "Nothing can host code here; see why above."
    if not findings:
        return "No package with compiled modules is installed: pure Python runs in every kind."
    if not total:
        return "No package here imports in plain Python; mend that first."
    counts = {kind: count(findings, kind) for kind in kinds}
    said = "; ".join(
        f"{counts[kind]} of {total} " + ("packages load in " if place == 0 else "in ") + PLURAL[kind]
        for place, kind in enumerate(sorted(kinds, key=PROBED.index, reverse=True))
    )
    if not any(counts.values()):
        return f"{said}: concurrent.futures.ProcessPoolExecutor is for these."
    if "isolate" not in counts:
        if counts["interpreter"] == total:
            return f"{said}: use kind='interpreter', which kind='auto' (the default) takes."
        return f"{said}; isolates, which are for the others, cannot be had here."
    if counts["isolate"] > counts.get("interpreter", 0):
        return f"{said}: use kind='isolate', which kind='auto' (the default) takes."
    if counts["isolate"] == counts["interpreter"]:
        return f"{said}: either kind serves; kind='auto' (the default) takes isolates."
    return f"{said}: use kind='interpreter'."


def document(here: Capabilities, findings: Sequence[Finding]) -> dict[str, Any]:
    """The whole report for `--json`."""
    kinds = [kind for kind in PROBED if here[kind].available]
    return {
        "atoll": version("atoll"),
        "python": {
            "implementation": platform.python_implementation(),
            "version": here.python,
            "executable": sys.executable,
            "gil": here.gil,
        },
        "machine": {**machine(here.c_library), "cores": here.cores},
        "capabilities": dataclasses.asdict(here),
        "packages": [
            {
                "name": one.package.name,
                "version": one.package.version,
                "imports": one.package.imports,
                "compiled_modules": len(one.package.compiled),
                "broken": one.broken or None,
                "outcomes": {kind: found._asdict() for kind, found in one.outcomes.items()},
            }
            for one in findings
        ],
        "counts": {
            "packages": sum(not one.broken for one in findings),
            **{kind: count(findings, kind) for kind in kinds},
        },
        "advice": advice(findings, kinds),
    }


def _jobs(text: str) -> int:
    try:
        jobs = int(text)
    except ValueError:
        jobs = 0
    if not 1 <= jobs <= 256:
        raise argparse.ArgumentTypeError(f"cannot probe {text!r} at a time; give a whole number from 1 to 256")
    return jobs


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"cannot wait {text!r} seconds; give a number above 0")
    return seconds
