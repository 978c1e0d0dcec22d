"""Whether packages import in each kind of host, found out in child processes: one for each package and kind.

A crash, a hang or a sudden exit ends that child only, and is what was found out. 39 popular packages with compiled
modules (numpy, pandas, scipy, scikit-learn, polars, pyarrow ...) in both kinds take 5 to 7 s on 2 cores.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import atoll
from atoll.cli.packages import Package
from atoll.cli.run import inherited_options

PLAIN = "main"  # no host: the child's own interpreter
FATAL = "Fatal Python error"
REFUSED = re.compile(r"module (\S+) does not support loading in subinterpreters")

type Watch = Callable[[Iterable[None], int, str], Iterable[None]]


class Outcome(NamedTuple):
    """What came of one probe."""

    status: str
    """`yes`; `partly`: the package imports, its compiled modules do not; `no`; `crashes`; `hangs`;
    `unavailable`: there was no such host after all."""
    reason: str = ""
    """Why it is not `yes`, in one line."""
    seconds: float | None = None
    """What the import took, where it ended."""
    signal: str = ""
    """What it crashed with: `SIGSEGV`."""

    @property
    def verdict(self) -> str:
        """The status as a reader wants it: `no`, `crashes (SIGSEGV)`."""
        return f"{self.status} ({self.signal})" if self.signal else self.status


class Finding(NamedTuple):
    """What came of all probes of one package."""

    package: Package
    outcomes: dict[str, Outcome]
    """By kind."""
    broken: str
    """Why it does not import in plain Python either, so that no kind is to blame; empty if it does."""


def examine(
    packages: Sequence[Package], kinds: Sequence[str], *, jobs: int, timeout: float, watch: Watch
) -> list[Finding]:
    """Import *packages* in hosts of *kinds*, *jobs* at a time, each within *timeout* seconds; *watch* shows progress.

    Blocks until all is known. When it is left by an exception (Ctrl-C), no child is left behind.
    """
    outcomes: dict[tuple[int, str], Outcome] = {}
    # The children are stopped before the threads are waited for, in whatever way this is left.
    with ThreadPoolExecutor(jobs, "probe") as threads, _Children(timeout) as children:

        def ask(wanted: list[tuple[int, str]]) -> Iterator[None]:
            running = {threads.submit(children.probe, packages[index], kind): (index, kind) for index, kind in wanted}
            for done in as_completed(running):
                outcomes[running[done]] = done.result()
                yield None

        wanted = [(index, kind) for index in range(len(packages)) for kind in kinds]
        for _ in watch(ask(wanted), len(wanted), "probing"):
            pass
        # What fails in the most capable kind may fail everywhere: plain Python says whether the kind is to blame.
        for _ in ask(
            [(index, PLAIN) for index, kind in wanted if kind == kinds[-1] and suspect(outcomes[index, kind])]
        ):
            pass

    findings = []
    for index, package in enumerate(packages):
        plain = outcomes.get((index, PLAIN), Outcome("yes"))
        by_kind = {kind: as_good_as(plain, outcomes[index, kind]) for kind in kinds}
        findings.append(Finding(package, by_kind, broken(plain)))
    return findings


def suspect(outcome: Outcome) -> bool:
    """Whether this failure may have nothing to do with the kind of host."""
    return outcome.status not in ("yes", "unavailable") and "interpreter" not in outcome.reason.lower()


def broken(plain: Outcome) -> str:
    """Why a package does not import in plain Python; empty if it does."""
    if plain.status in ("yes", "partly"):
        return ""
    return plain.reason if plain.status == "no" else f"{plain.verdict} {plain.reason}"


def as_good_as(plain: Outcome, outcome: Outcome) -> Outcome:
    """A package whose compiled modules do not load in plain Python either works as well as anywhere."""
    if plain.status == outcome.status == "partly":
        return Outcome("yes", "", outcome.seconds)
    return outcome


class _Children:
    """The probing processes that run right now; leaving the context ends them."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.source = Path(__file__).with_name("attempt.py").read_text()
        self.root = str(Path(atoll.__file__).parents[1])
        self.options = [option for option in inherited_options(sys.orig_argv) if option not in ("-i", "-P")]
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopped = False
        self.lock = threading.Lock()

    def probe(self, package: Package, kind: str) -> Outcome:
        """Probe *package* in a host of *kind*. Blocks until the child has ended."""
        arguments = (kind, self.source, package.imports, package.compiled, self.root, self.timeout)
        # -P: what lies in the current folder must not be taken for a module.
        code = f"{self.source}\nprobe(*{arguments!r})"
        command = [sys.executable, *self.options, "-P", "-c", code]
        with tempfile.TemporaryFile() as report, tempfile.TemporaryFile() as log:
            with self.lock:
                if self.stopped:
                    return Outcome("no", "interrupted")
                child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=report, stderr=log, start_new_session=True
                )
                self.running.add(child)
            try:
                os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            finally:
                self.end(child)
            report.seek(0)
            log.seek(0)
            found = outcome(child.returncode, report.read(), log.read().decode(errors="replace"), self.timeout)
            return found._replace(reason=shortened(found.reason, package.compiled))

    def end(self, child: subprocess.Popen[bytes]) -> None:
        """Kill *child* with all it has started. It is reaped afterwards, so that its number is its own until then."""
        with self.lock:
            self.running.discard(child)
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.stopped = True
            for child in self.running:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)


def outcome(code: int, report: bytes, log: str, timeout: float) -> Outcome:
    """Read how a child ended."""
    told = Outcome(**json.loads(report)) if report else None
    when = "after the import" if told else "during the import"
    if code == -signal.SIGALRM:
        return Outcome("hangs", f"no end within {timeout:g} s, {when}")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        fatal = next((line for line in lines if line.startswith(FATAL)), "")
        return Outcome("crashes", fatal or when, signal=name)
    if told is None:
        return Outcome(
            "crashes", f"the process ends with exit code {code}; {lines[-1] if lines else 'it says nothing'}"
        )
    return told


def shortened(reason: str, compiled: Sequence[str]) -> str:
    """The usual reasons in few words. Old modules give a part of their name only; *compiled* has them in full.

    >>> shortened("module _core does not support loading in subinterpreters", ["msgspec._core"])
    'refused by msgspec._core'
    """

    def refused(match: re.Match[str]) -> str:
        name = match[1]
        return "refused by " + next((full for full in compiled if full.endswith(f".{name}")), name)

    reason = REFUSED.sub(refused, reason)
    return re.sub(r",? see (also )?https?://\S+", "", reason)
