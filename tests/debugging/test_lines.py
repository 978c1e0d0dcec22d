"""What workers print comes out line by line: no line of anybody ends up inside another's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.debugging.conftest import Terminal

PROGRAM = """
    import atoll, sys, threading

    def shout(who, lines, longest):
        for number in range(lines):
            stream = sys.stdout if number % 4 else sys.stderr
            print(who, number, "x" * (number * 37 % longest), sep="-", end="|\\n", file=stream)

    def shout_in_threads(who, lines, longest):
        threads = [threading.Thread(target=shout, args=(f"{who}t{n}", lines, longest)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        shout(who, lines, longest)
        for thread in threads:
            thread.join()

    if __name__ == "__main__":
        ready, go = atoll.Channel(), atoll.Channel()

        def work(who, ready, go):
            ready.send(1)
            try:
                go.recv()
            except atoll.ChannelClosed:
                pass
            shout_in_threads(who, LINES, LONGEST)

        hosts = [atoll.Interpreter(kind=KIND) for _ in range(3)]
        calls = [
            threading.Thread(target=host.call, args=(work, f"host{n}", ready.sender, go.receiver))
            for n, host in enumerate(hosts)
        ]
        for call in calls:
            call.start()
        for _ in hosts:
            ready.recv()
        go.close()
        shout_in_threads("main", LINES, min(LONGEST, 4000))
        for call in calls:
            call.join()
        for host in hosts:
            host.close()
"""
THREADS = 2 if sys._is_gil_enabled() else 0
"""Threads of each interpreter that print beside its own: without a GIL, one `print` does not wait for another."""

LINE = re.compile(r"(?P<who>\w+)-(?P<number>\d+)-x*\|")


def check(text: str, lines: int) -> None:
    """Every line is somebody's, whole, and nobody's is missing."""
    seen: Counter[str] = Counter()
    for line in text.splitlines():
        found = LINE.fullmatch(line)
        assert found is not None, f"torn: {line[:200]!r}"
        seen[found["who"]] += 1
    whose = ("", *(f"t{thread}" for thread in range(THREADS)))
    assert set(seen) == {f"{who}{thread}" for who in ("main", "host0", "host1", "host2") for thread in whose}
    assert set(seen.values()) == {lines}


def source(kind: str, lines: int, longest: int) -> str:
    return f"KIND, LINES, LONGEST, THREADS = {kind!r}, {lines}, {longest}, {THREADS}\n" + textwrap.dedent(PROGRAM)


@pytest.mark.parametrize("longest", [60, 20_000], ids=["short", "long"])
def test_lines_to_a_pipe_stay_whole(tmp_path: Path, kind: str, longest: int) -> None:
    lines = 300 if longest < 1000 else 60
    script = tmp_path / "program.py"
    script.write_text(source(kind, lines, longest))
    done = subprocess.run(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
    )
    assert done.returncode == 0, done.stdout[-2000:]
    check(done.stdout, lines)


def test_lines_to_a_file_stay_whole(tmp_path: Path, kind: str) -> None:
    script, shown = tmp_path / "program.py", tmp_path / "shown"
    script.write_text(source(kind, 300, 500))
    with shown.open("w") as file:
        subprocess.run([sys.executable, str(script)], stdout=file, stderr=file, env=environment(), check=True)
    check(shown.read_text(), 300)


def test_lines_to_a_terminal_stay_whole(at_terminal: Callable[..., Terminal], kind: str) -> None:
    terminal = at_terminal(source(kind, 200, 300), PYTHONUNBUFFERED="")
    assert terminal.end() == 0
    check(terminal.transcript, 200)


def environment() -> dict[str, str]:
    """That of these tests, but for the variable that has Python write a line in pieces."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


# What a program does with its streams stays its own ---------------------------------------------------------------


def test_a_workers_own_redirection_holds(kind: str) -> None:
    import atoll

    def work() -> str:
        import contextlib
        import io
        import sys

        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            print("caught", 1, sep="-")
        before, sys.stdout = sys.stdout, text
        print("caught", 2, sep="-")
        sys.stdout = before
        return text.getvalue()

    assert atoll.run(work, kind=kind) == "caught-1\ncaught-2\n"


def test_a_workers_output_is_captured_with_the_descriptor(capfd: pytest.CaptureFixture[str], kind: str) -> None:
    import atoll

    def work() -> None:
        import sys

        print("to", "stdout")
        print("to", "stderr", file=sys.stderr)
        print("no end", end="")

    atoll.run(work, kind=kind)
    assert capfd.readouterr() == ("to stdout\nno end", "to stderr\n")


def test_a_workers_streams_can_be_asked_what_they_are(kind: str) -> None:
    import atoll

    def work() -> tuple[object, ...]:
        import sys

        return sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.encoding, sys.stdout.writable(), sys.stdout.name

    assert atoll.run(work, kind=kind) == (1, 2, "utf-8", True, "<stdout>")


def test_what_the_program_has_put_in_the_place_of_stdout_stays(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import atoll, sys\n"
        "mine = open(sys.argv[1], 'w')\n"
        "theirs, sys.stdout = sys.stdout, mine\n"
        "atoll.spawn\n"
        "print('kept')\n"
        "assert not mine.line_buffering and not theirs.line_buffering and sys.stdout is mine\n"
    )
    shown = tmp_path / "shown"
    subprocess.run([sys.executable, str(script), str(shown)], stdout=subprocess.PIPE, env=environment(), check=True)
    assert shown.read_text() == "kept\n"
