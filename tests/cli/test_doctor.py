"""`atoll doctor`, in a process of its own, on packages that load, refuse, crash, hang and leave."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import COMMAND, TIMEOUT, atoll, terminal
from tests.cli.distributions import LOADS, REFUSES, install

import atoll as library
from atoll.cli import main

KINDS = [kind for kind in ("interpreter", "isolate") if library.capabilities()[kind].available]

type Doctor = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def doctor(site: Path) -> Doctor:
    """Run the command where what is in `site` is installed."""

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return atoll("doctor", *arguments, variables={**path_with(site), **variables})

    return run


def path_with(site: Path) -> dict[str, str]:
    """The variable that adds `site` to where modules are looked for."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))}


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The document that the command printed."""
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def outcome(done: subprocess.CompletedProcess[str], kind: str = KINDS[0]) -> dict[str, Any]:
    """What came out for the only package, in hosts of *kind*."""
    (package,) = told(done)["packages"]
    result: dict[str, Any] = package["outcomes"][kind]
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_that_loads_is_a_yes_with_the_time_it_took(site: Path, doctor: Doctor, kind: str) -> None:
    install(site, "islet", LOADS)

    found = outcome(doctor("islet", "--json"), kind)

    assert (found["status"], found["reason"]) == ("yes", "")
    assert 0 < found["seconds"] < TIMEOUT


def test_a_package_whose_module_allows_no_sub_interpreters_is_refused_by_that_module(
    site: Path, doctor: Doctor
) -> None:
    install(site, "islet", f"from . import {REFUSES}", compiled=REFUSES)

    found = outcome(doctor("islet", "--json"), "interpreter")

    assert (found["status"], found["reason"]) == ("no", f"refused by islet.{REFUSES}")


def test_compiled_modules_that_the_package_loads_lazily_are_tried_as_well(site: Path, doctor: Doctor) -> None:
    install(site, "islet", "", compiled=REFUSES)

    found = outcome(doctor("islet", "--json"), "interpreter")

    assert (found["status"], found["reason"]) == ("partly", f"refused by islet.{REFUSES}")


@pytest.mark.parametrize(
    ("init", "timeout", "status", "signal_name", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 60, "crashes", "SIGSEGV", "during the import"),
        ("import os; os._exit(3)", 60, "crashes", "", "exit code 3"),
        ("import threading; threading.Event().wait()", 1, "hangs", "", "no end within 1 s, during the import"),
    ],
)
def test_a_crash_an_exit_and_a_hang_in_a_host_are_findings(
    site: Path, doctor: Doctor, init: str, timeout: float, status: str, signal_name: str, reason: str
) -> None:
    install(site, "islet", init)

    found = outcome(doctor("islet", "--json", "--timeout", timeout))

    assert (found["status"], found["signal"]) == (status, signal_name)
    assert reason in found["reason"]


def test_a_package_that_fails_in_plain_python_too_is_broken_and_not_counted(site: Path, doctor: Doctor) -> None:
    install(site, "islet", "raise ImportError('needs libsea\\nand more')")
    install(site, "skerry", LOADS)

    document = told(doctor("islet", "skerry", "--json"))

    assert [one["broken"] for one in document["packages"]] == ["needs libsea", None]
    assert document["counts"] == {"packages": 1, **dict.fromkeys(KINDS, 1)}


def test_what_crashes_in_plain_python_too_is_told_as_that(site: Path, doctor: Doctor) -> None:
    install(site, "islet", f"{LOADS}\nimport atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGSEGV)")

    (package,) = told(doctor("islet", "--json"))["packages"]

    assert package["broken"] == "crashes (SIGSEGV) after the import"


def test_what_imports_print_stays_out_of_the_report(site: Path, doctor: Doctor) -> None:
    install(site, "islet", f"import os; print('noise'); os.write(1, b'noise'); os.system('echo noise')\n{LOADS}")

    done = doctor("islet", "--json")

    assert outcome(done)["status"] == "yes"
    assert "noise" not in done.stdout + done.stderr


def test_the_current_folder_is_not_searched_for_what_the_packages_import(
    site: Path, doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "islet", f"import colorsys\n{LOADS}")
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.chdir(tmp_path)

    assert outcome(doctor("islet", "--json"))["status"] == "yes"


def test_without_names_every_distribution_with_compiled_modules_is_probed(site: Path, doctor: Doctor) -> None:
    install(site, "islet", LOADS)
    install(site, "skerry", LOADS, record=False)  # as Debian installs: without a list of files
    (site / "wreck-1.0.dist-info").mkdir()  # what a broken uninstallation leaves

    names = {one["name"] for one in told(doctor("--json"))["packages"]}

    assert {"islet", "skerry"} <= names
    assert "atoll" not in names
    assert "pytest" not in names  # pure Python


def test_packages_are_found_by_the_name_of_the_distribution_and_of_the_import(doctor: Doctor) -> None:
    document = told(doctor("PyTest", "PLUGGY", "_pytest", "--json"))

    assert [one["name"] for one in document["packages"]] == ["pytest", "pluggy"]
    assert "pytest" in document["packages"][0]["imports"]
    assert document["packages"][0]["compiled_modules"] == 0


def test_the_document_has_the_documented_shape(site: Path, doctor: Doctor) -> None:
    install(site, "islet", LOADS)

    document = told(doctor("islet", "--json"))

    assert list(document) == ["atoll", "python", "machine", "capabilities", "packages", "counts", "advice"]
    assert set(document["python"]) == {"implementation", "version", "executable", "gil"}
    assert set(document["machine"]) == {"system", "release", "architecture", "libc", "memory_bytes", "cores"}
    assert {one["kind"] for one in document["capabilities"]["kinds"]} >= {"interpreter", "isolate"}
    (package,) = document["packages"]
    assert package["name"] == "islet"
    assert set(package) == {"name", "version", "imports", "compiled_modules", "broken", "outcomes"}
    assert set(package["outcomes"]) == set(KINDS)
    assert all(set(one) == {"status", "reason", "seconds", "signal"} for one in package["outcomes"].values())


def test_the_report_names_the_machine_the_kinds_and_the_packages_and_ends_with_advice(
    site: Path, doctor: Doctor
) -> None:
    install(site, "islet", LOADS)

    done = doctor("islet", COLUMNS="200")

    assert done.returncode == 0
    assert done.stderr == ""  # no bar and no lines where there is no terminal
    assert sys.executable in done.stdout
    assert "a CPython sub-interpreter with its own GIL" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("islet"))
    assert row.split()[:3] == ["islet", "1.0", "yes"]
    assert "1 of 1 packages load in" in done.stdout.splitlines()[-1]


def test_the_report_keeps_to_the_columns_of_the_terminal(site: Path, doctor: Doctor) -> None:
    install(site, "islet", f"raise ImportError('{'very ' * 40}long')")

    done = doctor("islet", COLUMNS="80")

    paths = [line for line in done.stdout.splitlines() if sys.executable not in line and "/" not in line]
    assert max(len(line) for line in paths[:-1]) <= 80


def test_a_terminal_gets_colours_unless_no_color_is_set(site: Path, doctor: Doctor) -> None:
    install(site, "islet", LOADS)

    assert "\x1b[" in on_a_terminal(site, NO_COLOR="")
    assert "\x1b[3" not in on_a_terminal(site, NO_COLOR="1")


def on_a_terminal(site: Path, **variables: str) -> str:
    """What the command writes to stdout when that is a terminal."""
    ours, theirs = terminal()
    environment = {**os.environ, **path_with(site), "TERM": "xterm", **variables}
    with subprocess.Popen([*COMMAND, "doctor", "islet"], stdout=theirs, env=environment) as command:
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 4096):
                text += chunk
        except OSError:  # EIO: the terminal has no other side any more
            pass
        os.close(ours)
        assert command.wait(TIMEOUT) == 0
    return text.decode()


def test_ctrl_c_ends_the_doctor_at_once_and_leaves_no_child(site: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    hang = f"import os, threading\nwith open({str(pipe)!r}, 'w') as pipe: pipe.write(str(os.getpid()))\n"
    install(site, "islet", f"{hang}threading.Event().wait()")
    environment = {**os.environ, **path_with(site)}
    command = subprocess.Popen(
        [*COMMAND, "doctor", "islet"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    child = int(pipe.read_text())  # blocks until the import has begun

    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=20)  # a hung import would take 30

    assert (command.returncode, errors.strip()) == (130, "interrupted")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["no-such-package"], "no-such-package"),
        (["--jobs", "0"], "'0'"),
        (["--jobs", "many"], "'many'"),
        (["--timeout", "0"], "'0'"),
        (["--timeout", "nan"], "'nan'"),
        (["--colour"], "--colour"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(arguments: list[str], complaint: str) -> None:
    done = atoll("doctor", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_where_nothing_can_host_code_the_report_says_why_and_the_exit_code_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = library.capabilities()
    kinds = tuple(dataclasses.replace(one, available=False, reason="no such luck", remedy="") for one in here)
    monkeypatch.setattr(library, "capabilities", lambda: dataclasses.replace(here, kinds=kinds))

    code = main(["doctor"])

    assert code == 1
    assert capsys.readouterr().out.count("no such luck") == len(kinds)


def test_numpy_loads_in_isolates_and_not_in_sub_interpreters(doctor: Doctor) -> None:
    pytest.importorskip("numpy")

    (package,) = told(doctor("numpy", "--json"))["packages"]

    assert package["imports"] == ["numpy"]
    assert package["outcomes"]["interpreter"]["status"] == "no"
    if "isolate" in KINDS:
        assert package["outcomes"]["isolate"]["status"] == "yes"
