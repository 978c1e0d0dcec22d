"""What the tests of isolates ask for: isolates, and programs of their own that may use many or end badly."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.isolates.programs import PATIENCE, Done, run_python

import atoll

type RunProgram = Callable[..., Done]


@pytest.fixture(scope="session")
def isolates_here() -> None:
    """Skip where this machine has no isolates; fail where it is known to have them (ATOLL_REQUIRE_ISOLATES=1)."""
    isolate = atoll.capabilities()["isolate"]
    if not isolate.available:
        missing = pytest.fail if os.environ.get("ATOLL_REQUIRE_ISOLATES") else pytest.skip
        missing(f"no isolates here: {isolate.reason}")


@pytest.fixture(scope="session")
def room_for_others(isolates_here: None) -> None:
    """Isolates of other environments stay for as long as the process: these tests need the loader's tunable."""
    if "glibc.rtld.nns" not in os.environ.get("GLIBC_TUNABLES", ""):
        missing = pytest.fail if os.environ.get("ATOLL_REQUIRE_ISOLATES") else pytest.skip
        missing("isolates of many environments need GLIBC_TUNABLES=glibc.rtld.nns=16 (`make test-python` sets it)")


@pytest.fixture
def isolate(isolates_here: None) -> Iterator[atoll.Interpreter]:
    """An isolate for this test."""
    with atoll.Interpreter(kind="isolate") as host:
        yield host


@pytest.fixture
def isolates(isolates_here: None) -> Iterator[list[atoll.Interpreter]]:
    """Two isolates for this test."""
    with atoll.Interpreter(kind="isolate") as first, atoll.Interpreter(kind="isolate") as second:
        yield [first, second]


@pytest.fixture
def run_program(isolates_here: None, tmp_path: Path) -> RunProgram:
    """Run this source as a script, to its end."""

    def run(
        source: str, *arguments: str, env: Mapping[str, str | None] | None = None, patience: float = PATIENCE
    ) -> Done:
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(source))
        return run_python(str(script), *arguments, env=env, patience=patience)

    return run
