"""`atoll demo` and `python -m atoll`, as a user meets them: in a process of their own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.commands import atoll

GOOD = """
class Box:
    def put(self, thing):
        if thing and self.open:
            return [part for part in thing if part]
        return None


def largest():
    for number in range(3):
        while number:
            number -= 1
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    (folder / "inner").mkdir(parents=True)
    (folder / "good.py").write_text(GOOD)
    (folder / "inner" / "empty.py").write_text("")
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "warns.py").write_text("x = 1 is 1\n")
    (folder / "nulls.py").write_bytes(b"x = 1\0")
    (folder / "text.txt").write_text("not Python")
    return folder


def test_demo_measures_every_file_and_names_those_that_do_not_parse(sources: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"

    done = atoll("demo", "--path", sources, "--workers", 3, "--json", result)

    assert done.returncode == 0, done.stderr
    assert "2 of 5 files do not parse" in done.stdout
    assert "broken.py" in done.stdout
    assert "SyntaxWarning" not in done.stderr
    written = json.loads(result.read_text())
    modules = {Path(module["path"]).name: module for module in written["modules"]}
    assert set(modules) == {"good.py", "empty.py", "broken.py", "warns.py", "nulls.py"}
    good = modules["good.py"]
    assert (good["functions"], good["classes"], good["branches"], good["complexity"]) == (2, 1, 5, 7)
    assert (good["largest"], good["largest_lines"]) == ("largest", 4)
    assert modules["broken.py"]["problem"].startswith("SyntaxError")
    assert modules["nulls.py"]["problem"]
    assert [one["workers"] for one in written["passes"]] == [1, 3]
    assert written["passes"][1]["channels"]["names"]["received"] == 5
    assert written["passes"][1]["channels"]["results"]["sent"] == 5


def test_demo_with_one_worker_makes_one_pass(sources: Path) -> None:
    done = atoll("demo", "--path", sources, "--workers", 1)

    assert done.returncode == 0, done.stderr
    assert "1.00 x" in done.stdout
    assert "2 workers" not in done.stdout


def test_demo_where_no_file_parses_still_ends_well(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("(")

    done = atoll("demo", "--path", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "1 of 1 files do not parse" in done.stdout


def test_demo_without_a_terminal_reports_progress_in_plain_lines(sources: Path) -> None:
    done = atoll("demo", "--path", sources)

    assert "1 worker: 5 of 5 files" in done.stderr
    assert "\r" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--workers", "0"], "'0'"),
        (["--workers", "many"], "'many'"),
        (["--path", "/no/such/folder"], "/no/such/folder"),
        (["--colour"], "--colour"),
        (["--json", "/no/such/folder/result.json"], "/no/such/folder/result.json"),
    ],
)
def test_demo_with_a_bad_argument_says_so_in_one_line_and_exits_with_2(arguments: list[str], complaint: str) -> None:
    done = atoll("demo", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_demo_of_a_folder_without_python_files_says_so_and_exits_with_2(tmp_path: Path) -> None:
    done = atoll("demo", "--path", tmp_path)

    assert done.returncode == 2
    assert "no .py file" in done.stderr


def test_an_unknown_command_is_one_line_and_exit_code_2() -> None:
    done = atoll("dance")

    assert done.returncode == 2
    assert "dance" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_ends_the_demo_cleanly() -> None:
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "atoll", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stderr is not None
    demo.stderr.readline()  # the first quarter is done: tasks are at work

    os.kill(demo.pid, signal.SIGINT)
    _, errors = demo.communicate(timeout=30)

    assert demo.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors


def test_the_reader_of_the_output_may_leave_early(sources: Path) -> None:
    command = f"{sys.executable} -m atoll demo --path {sources} | head -n 1"

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)

    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_version_names_the_release() -> None:
    done = atoll("--version")

    assert done.returncode == 0
    assert done.stdout.startswith("atoll 0.")
