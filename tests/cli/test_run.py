"""`atoll run` is `python`, with room for isolates: the same behaviour, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.commands import COMMAND, TIMEOUT, atoll, terminal

import atoll as library
from atoll.cli import run

REPORT = """
import json, os, sys
print(json.dumps({
    "argv": sys.argv, "name": __name__, "file": globals().get("__file__"), "path0": sys.path[0],
    "flags": list(sys.flags), "xoptions": sys._xoptions, "warnoptions": sys.warnoptions,
    "environment": dict(os.environ),
}))
"""

needs_glibc = pytest.mark.skipif(not run.has_glibc(), reason="the tunable is glibc's")


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    def write(source: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(source)
        return path

    return write


@pytest.mark.parametrize("options", [[], ["-O"], ["-uX", "dev"], ["-Wignore", "-I"], ["-E", "-s", "-P"]])
def test_a_script_sees_what_it_sees_under_python_but_for_the_tunable(script, options: list[str]) -> None:
    command = [*options, str(script(REPORT)), "-m", "--help", "", "ü"]

    plain = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, env={**os.environ})
    ours = atoll("run", *command)

    expected, seen = json.loads(plain.stdout), json.loads(ours.stdout)
    assert seen["environment"].pop("GLIBC_TUNABLES", "") == ("glibc.rtld.nns=16" if run.has_glibc() else "")
    expected["environment"].pop("GLIBC_TUNABLES", None)
    assert seen == expected
    assert ours.stderr == plain.stderr


@pytest.mark.parametrize("locale", [{}, {"LANG": "C"}, {"LC_ALL": "C"}, {"LC_CTYPE": "C.UTF-8"}])
def test_the_locale_and_the_encodings_are_those_of_plain_python(locale: dict[str, str]) -> None:
    source = "import sys, os; print(sys.flags.utf8_mode, sys.stdin.errors, os.environ.get('LC_CTYPE'))"

    environment = {**locale, **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {})}

    plain, ours = (
        subprocess.run([*command, "-c", source], env=environment, capture_output=True, text=True, check=True)
        for command in ([sys.executable], [*COMMAND, "run"])
    )

    assert ours.stdout == plain.stdout


def test_the_options_of_the_python_that_runs_atoll_are_passed_on() -> None:
    source = "import sys; print(sys.flags.dev_mode, sys.warnoptions)"

    done = subprocess.run(
        [sys.executable, "-Xdev", "-W", "error", "-m", "atoll", "run", "-c", source],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "True ['default', 'error']\n"


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_the_scripts(code: int) -> None:
    assert atoll("run", "-c", f"raise SystemExit({code})").returncode == code


def test_a_traceback_is_that_of_plain_python(script) -> None:
    path = script("def f():\n    raise LookupError('x')\nf()\n")

    plain = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    ours = atoll("run", path)

    assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_to_the_command_reaches_the_script_since_they_are_one_process(number: signal.Signals) -> None:
    # Not a wait: a signal just before it began would be noticed only after it.
    source = "import os\nprint(os.getpid(), flush=True)\nwhile True: pass"
    command = subprocess.Popen([*COMMAND, "run", "-c", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert command.stdout is not None
    with command:
        assert int(command.stdout.readline()) == command.pid

        command.send_signal(number)
        try:
            command.wait(TIMEOUT)
        finally:
            command.kill()

    assert command.returncode == -number


def test_stdin_is_the_scripts() -> None:
    done = atoll("run", "-c", "import sys; print(sys.stdin.read().upper())", input="from the pipe")

    assert done.stdout == "FROM THE PIPE\n"


def test_a_dash_runs_the_program_on_stdin() -> None:
    done = atoll("run", "-", "a", input="import sys; print(sys.argv)")

    assert done.stdout == "['-', 'a']\n"


def test_the_terminal_is_the_scripts() -> None:
    ours, theirs = terminal()
    try:
        done = atoll("run", "-c", "import sys; sys.exit(40 + sys.stdin.isatty() + sys.stdout.isatty())",
                     capture_output=False, stdin=theirs, stdout=theirs)  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)

    assert done.returncode == 42


def test_a_module_runs_as_main_with_its_arguments(tmp_path: Path) -> None:
    package = tmp_path / "parcel"
    package.mkdir()
    (package / "__main__.py").write_text("import sys; print(__name__, __package__, sys.argv[1:])")

    done = atoll("run", "-m", "parcel", "-m", "x", "--verbose", cwd=tmp_path)

    assert done.stdout == "__main__ parcel ['-m', 'x', '--verbose']\n"


def test_a_script_whose_name_starts_with_a_dash_runs_after_two_dashes(tmp_path: Path) -> None:
    (tmp_path / "-script.py").write_text("import sys; print(sys.argv)")

    done = atoll("run", "--", "-script.py", "--", cwd=tmp_path)

    assert done.stdout == "['-script.py', '--']\n"


@needs_glibc
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "glibc.rtld.nns=16"),
        ("", "glibc.rtld.nns=16"),
        ("glibc.malloc.check=0", "glibc.malloc.check=0:glibc.rtld.nns=16"),
        ("glibc.rtld.nns=8:glibc.malloc.check=0", "glibc.malloc.check=0:glibc.rtld.nns=16"),
        ("glibc.rtld.nns=16:glibc.malloc.check=0", "glibc.rtld.nns=16:glibc.malloc.check=0"),
        ("glibc.rtld.nns=0x10", "glibc.rtld.nns=0x10"),
        ("glibc.rtld.nns=99", "glibc.rtld.nns=16"),  # more than there can be: glibc would fall back to 4
        ("glibc.rtld.nns=16:glibc.rtld.nns=2", "glibc.rtld.nns=16"),
        ("glibc.rtld.nns=many", "glibc.rtld.nns=16"),
    ],
)
def test_the_tunable_joins_those_that_are_set(before: str | None, after: str) -> None:
    source = "import os; print(os.environ['GLIBC_TUNABLES'])"

    done = atoll("run", "-c", source, variables={"GLIBC_TUNABLES": before})

    assert done.stdout == f"{after}\n"


def test_without_glibc_the_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise ValueError("unrecognized configuration name")  # what musl and macOS answer

    monkeypatch.setattr(run.os, "confstr", unknown)

    assert run.environment({"A": "1"}) == {"A": "1"}


def test_verbose_says_on_stderr_what_is_started() -> None:
    done = atoll("run", "--verbose", "-O", "-c", "print('a b')", variables={"GLIBC_TUNABLES": None})

    tunable = "GLIBC_TUNABLES=glibc.rtld.nns=16 " if run.has_glibc() else ""
    assert done.stdout == "a b\n"
    assert done.stderr == f"""atoll run: {tunable}{sys.executable} -O -c 'print('"'"'a b'"'"')'\n"""


def test_a_script_that_is_not_there_is_pythons_own_error() -> None:
    done = atoll("run", "/no/such/script.py")

    assert done.returncode == 2
    assert "can't open file '/no/such/script.py': [Errno 2]" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "no script is named"),
        (["-O", "-u"], "no script is named"),
        (["-m"], "the module is missing"),
        (["-Oc"], "the code is missing"),
        (["-X"], "its value is missing"),
        (["-Z", "script.py"], "cannot pass -Z"),
        (["-uZ", "script.py"], "cannot pass -Z"),
        (["--colour", "script.py"], "cannot pass --colour"),
    ],
)
def test_a_bad_command_line_says_in_one_line_what_to_write_and_exits_with_2(
    arguments: list[str], complaint: str
) -> None:
    done = atoll("run", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert "atoll run" in done.stderr.partition(": ")[2]
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_shows_the_three_ways_to_name_a_program(option: str) -> None:
    done = atoll("run", option)

    assert done.returncode == 0
    assert all(way in done.stdout for way in ("script.py", "-m module", "-c code"))


@pytest.mark.skipif(not library.capabilities()["isolate"].available, reason="this machine has no isolates")
def test_a_script_may_have_more_isolates_than_without_the_command() -> None:
    source = """
import contextlib, atoll
with contextlib.ExitStack() as stack:
    hosts = [stack.enter_context(atoll.Interpreter(kind="isolate")) for _ in range(9)]
    print(atoll.capabilities().isolates.fit, len({host.id for host in hosts}))
"""

    done = atoll("run", "-c", source)

    assert (done.returncode, done.stdout) == (0, "15 9\n"), done.stderr
