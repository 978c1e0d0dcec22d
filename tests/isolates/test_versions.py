"""Two CPython versions in one process.

The other Pythons are those of ATOLL_OTHER_PYTHONS (paths of executables, joined by colons), else what is found in the
usual places. Each needs the glue of its version: the checkout has it once it was built there (`.ci/run` does), an
installation has it in that Python's environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.isolates.programs import ROOT, check, run_python

import atoll

pytestmark = [pytest.mark.usefixtures("room_for_others"), pytest.mark.slow]

OURS = f"{sys.version_info.major}.{sys.version_info.minor}"
PACKAGE = Path(atoll.__file__).parent


class OtherPython(NamedTuple):
    """Another Python that can be loaded beside this one."""

    executable: str
    version: str
    glue: Path


QUESTION = "import sys, sysconfig; print('%d.%d' % sys.version_info[:2], sysconfig.get_config_var('EXT_SUFFIX'))"


def other_pythons() -> list[OtherPython]:
    """Every other CPython at hand whose glue is there and that has a shared library."""
    named = os.environ.get("ATOLL_OTHER_PYTHONS")
    versions = ("3.13", "3.14", "3.15")
    paths = named.split(":") if named else [f"/usr/bin/python{version}" for version in versions]
    found = {}
    for path in paths:
        executable = shutil.which(path)
        if executable is None:
            continue
        done = subprocess.run([executable, "-I", "-c", QUESTION], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            continue
        version, suffix = done.stdout.split()
        glue = PACKAGE / f"_native{suffix}"
        if version != OURS and glue.exists():
            found[version] = OtherPython(executable, version, glue)
    return list(found.values())


OTHERS = other_pythons()
if not OTHERS:
    pytestmark.append(
        pytest.mark.skip(reason="no other CPython here whose glue was built in this checkout (see ATOLL_OTHER_PYTHONS)")
    )

each_other = pytest.mark.parametrize("other", OTHERS, ids=[other.version for other in OTHERS])

REPORT = """
import asyncio, hashlib, json, sqlite3, ssl, sys, threading

async def answer():
    return await asyncio.to_thread(sum, range(100))

heard = []
thread = threading.Thread(target=heard.append, args=(1,))
thread.start()
thread.join()
out.send({
    "version": "%d.%d" % sys.version_info[:2],
    "executable": sys.executable,
    "asyncio": asyncio.run(answer()),
    "sqlite": sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()[0],
    "json": json.dumps({"a": [1.5, None]}),
    "hash": hashlib.sha256(b"reef").hexdigest(),
    "tls": ssl.OPENSSL_VERSION_INFO[0],
    "thread": heard,
})
"""


def report(host: atoll.Interpreter) -> dict[str, Any]:
    """What the Python in the host says of itself."""
    channel = atoll.Channel[dict[str, Any]](1)
    host.prepare_main(out=channel.sender)
    host.exec(REPORT)
    return channel.recv(timeout=60)


@each_other
def test_another_version_runs_beside_this_one(other: OtherPython) -> None:
    with (
        atoll.Interpreter(kind="isolate", python=other.executable) as theirs,
        atoll.Interpreter(kind="isolate") as ours,
        ThreadPoolExecutor(2) as pool,
    ):
        there, here = pool.map(report, [theirs, ours])

    assert (there["version"], here["version"]) == (other.version, OURS)
    assert os.path.realpath(there["executable"]) == os.path.realpath(other.executable)
    assert {name: there[name] for name in ("asyncio", "sqlite", "json", "hash", "thread")} == {
        name: here[name] for name in ("asyncio", "sqlite", "json", "hash", "thread")
    }


def test_all_versions_at_hand_run_at_once() -> None:
    hosts = [atoll.Interpreter(kind="isolate", python=other.executable) for other in OTHERS]
    try:
        with ThreadPoolExecutor(len(hosts)) as pool:
            assert [answer["version"] for answer in pool.map(report, hosts)] == [other.version for other in OTHERS]
    finally:
        for host in hosts:
            host.close()


@each_other
def test_built_in_values_and_channel_ends_cross_between_versions(other: OtherPython) -> None:
    values = [None, True, 2**100, -1.5, 1j, "Föhr \udc80", b"reef", bytearray(b"x" * 100_000), [1, (2, {3: {4}})],
              frozenset({5}), range(6), slice(1, None), ...]  # fmt: skip
    there, back = atoll.Channel[Any](1), atoll.Channel[Any](1)
    with atoll.Interpreter(kind="isolate", python=other.executable) as host, ThreadPoolExecutor(1) as pool:
        host.prepare_main(inbox=there.receiver, outbox=back.sender)
        running = pool.submit(host.exec, "for message in inbox: outbox.send(message)\n")
        for value in values:
            there.send(value, timeout=60)
            assert back.recv(timeout=60) == value
        mine = atoll.Channel[int](1)
        there.send({"end": mine.sender})
        back.recv(timeout=60)["end"].send(7)
        assert mine.recv(timeout=60) == 7
        there.close()
        running.result(60)


@each_other
def test_importable_functions_are_called_and_their_errors_come_back(other: OtherPython) -> None:
    import math

    with atoll.Interpreter(kind="isolate", python=other.executable) as host:
        assert host.call(math.hypot, 3.0, 4.0) == 5.0
        with pytest.raises(ValueError) as caught:
            host.call(math.sqrt, -1.0)
        assert isinstance(caught.value.__cause__, atoll.RemoteTraceback)
        with pytest.raises(ZeroDivisionError):
            host.exec("1 / 0")


@each_other
def test_a_function_that_travels_by_value_says_why_it_cannot_go_to_another_version(other: OtherPython) -> None:
    with atoll.Interpreter(kind="isolate", python=other.executable) as host:
        with pytest.raises((atoll.AtollError, TypeError)) as caught:
            host.call(lambda: 1)

        assert other.version in str(caught.value)
        assert host.call(abs, -1) == 1


@each_other
def test_numpy_of_another_version_computes_what_ours_does(other: OtherPython, tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    made = subprocess.run([other.executable, "-m", "venv", str(folder)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"cannot make a venv: {made.stderr or made.stdout}")
    installed = subprocess.run(
        [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "numpy"],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode != 0:
        (pytest.fail if os.environ.get("ATOLL_REQUIRE_ISOLATES") else pytest.skip)(installed.stderr)

    # In a process of its own: one more environment takes a place for good.
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "import atoll\n"
        "from tests.isolates import workloads\n"
        "with atoll.Interpreter(kind='isolate', python=sys.argv[1], path=[sys.argv[2]]) as host:\n"
        "    there = host.call(workloads.numpy, 5)\n"
        "assert workloads.same(there, workloads.numpy(5)), there\n"
        "print('the same')\n"
    )
    done = run_python(str(program), str(folder / "bin" / "python"), str(ROOT))

    assert check(done).split() == ["the", "same"]


@each_other
def test_the_glue_that_is_installed_in_the_other_environment_is_used(other: OtherPython, tmp_path: Path) -> None:
    """As with two installations from wheels: each environment has the glue of its own Python only."""
    import cloudpickle

    places = {}
    for name, glue in (
        ("ours", PACKAGE / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"),
        ("theirs", other.glue),
    ):
        places[name] = tmp_path / name
        shutil.copytree(PACKAGE, places[name] / "atoll", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        shutil.copy(glue, places[name] / "atoll")
        shutil.copytree(Path(cloudpickle.__file__).parent, places[name] / "cloudpickle")
    # What pip writes: the two must be of one release.
    release = version("atoll")
    metadata = places["theirs"] / f"atoll-{release}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: atoll\nVersion: {release}\n")
    folder = tmp_path / "venv"
    subprocess.run([other.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (folder / "lib" / f"python{other.version}" / "site-packages" / "theirs.pth").write_text(f"{places['theirs']}\n")
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, atoll\n"
        "with atoll.Interpreter(kind='isolate', python=sys.argv[1]) as host:\n"
        "    channel = atoll.Channel(2)\n"
        "    host.prepare_main(out=channel.sender)\n"
        "    host.exec('import atoll._native; out.send(atoll._native.__file__)')\n"
        "    host.exec('import sys; out.send(list(sys.version_info[:2]))')\n"
        "    print(channel.recv(), channel.recv(), atoll.__file__)\n"
    )

    done = run_python("-P", str(program), str(folder / "bin" / "python"), env={"PYTHONPATH": str(places["ours"])})

    major, minor = map(int, other.version.split("."))
    assert check(done).strip() == (
        f"{places['theirs'] / 'atoll' / other.glue.name} [{major}, {minor}] {places['ours'] / 'atoll' / '__init__.py'}"
    )
