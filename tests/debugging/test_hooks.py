"""Who decides what `breakpoint()` does, and what it does without a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Child

import atoll


def run(tmp_path: Path, source: str, typed: str | None = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program; *typed* is its standard input, None: it has none."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(source))
    return subprocess.run(
        [sys.executable, str(script)],
        input=typed,
        stdin=subprocess.DEVNULL if typed is None else None,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        timeout=60,
    )


STOPPING = """
    import atoll, bdb

    def work(number):
        breakpoint()
        return number

    if __name__ == "__main__":
        for number in (10, 20):
            try:
                print("result", atoll.run(work, number, kind={kind!r}))
            except bdb.BdbQuit:
                print("quit", number)
"""


def test_commands_in_a_pipe_are_read_by_one_debugger_after_the_other(tmp_path: Path, kind: str) -> None:
    done = run(tmp_path, STOPPING.format(kind=kind), "number += 1\nc\nnumber += 2\nc\n")
    assert done.returncode == 0, done.stderr
    assert "result 11\n" in done.stdout
    assert "result 22\n" in done.stdout


@pytest.mark.parametrize("typed", ["", None], ids=["empty", "none"])
def test_the_end_of_the_input_quits(tmp_path: Path, kind: str, typed: str | None) -> None:
    done = run(tmp_path, STOPPING.format(kind=kind), typed)
    assert done.returncode == 0, done.stderr
    assert "quit 10\n" in done.stdout
    assert "quit 20\n" in done.stdout


def test_pythonbreakpoint_0_switches_breakpoints_off(tmp_path: Path, kind: str) -> None:
    done = run(tmp_path, STOPPING.format(kind=kind), PYTHONBREAKPOINT="0")
    assert done.stdout == "result 10\nresult 20\n"


def test_pythonbreakpoint_may_name_something_else(tmp_path: Path, kind: str) -> None:
    done = run(tmp_path, STOPPING.format(kind=kind), PYTHONBREAKPOINT="os.getpid")
    assert done.stdout == "result 10\nresult 20\n"


def test_what_pythonbreakpoint_names_finds_the_calling_frame_above_its_own(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine.py").write_text("import sys\ndef hook(): print('called from', sys._getframe(1).f_code.co_name)\n")
    done = run(tmp_path, STOPPING.format(kind=kind), PYTHONBREAKPOINT="mine.hook")
    assert done.stdout.startswith("called from work\nresult 10\n"), done.stderr


def test_a_hook_of_the_hosts_own_is_used(kind: str) -> None:
    def work() -> list[str]:
        import sys

        called: list[str] = []
        before, sys.breakpointhook = sys.breakpointhook, lambda *args: called.extend(args)
        breakpoint("mine")
        sys.breakpointhook = before
        return called

    assert atoll.run(work, kind=kind) == ["mine"]


def test_a_hook_that_the_program_has_chosen_stays(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        import sys
        sys.breakpointhook = lambda: print("mine")
        import atoll
        atoll.spawn
        breakpoint()
        """,
    )
    assert done.stdout == "mine\n", done.stderr


def test_arguments_that_pdb_does_not_take_are_refused(kind: str) -> None:
    def work() -> None:
        breakpoint(unknown=1)

    with pytest.raises(TypeError, match="unknown"):
        atoll.run(work, kind=kind)


def test_an_interruption_is_the_programs_where_no_terminal_is(start_child: Callable[[str], Child], kind: str) -> None:
    child = start_child(f"""
        import atoll

        def work():
            breakpoint()

        if __name__ == "__main__":
            try:
                atoll.run(work, kind={kind!r})
            except KeyboardInterrupt:
                print("interrupted")
    """)
    child.wait_for_line("-> breakpoint()")
    child.interrupt()
    code, out, errors = child.end()
    assert code == 0, errors
    assert "interrupted" in out
