"""Two releases of numpy in one process: isolates that see virtual environments of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import atoll

pytestmark = [pytest.mark.usefixtures("room_for_others"), pytest.mark.slow]


def pip(*arguments: str) -> str:
    """What pip answers; skips if it cannot reach an index (fails where the tests must not be left out)."""
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing = pytest.fail if os.environ.get("ATOLL_REQUIRE_ISOLATES") else pytest.skip
        missing(f"pip cannot get two releases of numpy: {done.stderr[-300:]}")
    return done.stdout


@pytest.fixture(scope="session")
def two_venvs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By release: a venv with the newest numpy and one with the oldest that has a wheel for this Python."""
    listed = pip("index", "versions", "numpy", "--only-binary", ":all:")
    line = next(line for line in listed.splitlines() if line.startswith("Available versions:"))
    releases = [release.strip() for release in line.partition(":")[2].split(",")]
    # Releases older than this have wheels for every Python that say too much.
    releases = [release for release in releases if tuple(map(int, re.findall(r"\d+", release))) >= (2, 1)]
    if len(releases) < 2:
        pytest.skip("there is one release of numpy with a wheel for this Python")
    made = {}
    for release in (releases[0], releases[-1]):
        folder = tmp_path_factory.mktemp("venv") / f"numpy-{release}"
        venv.create(folder, with_pip=False)
        pip(
            "--python",
            str(folder / "bin" / "python"),
            "install",
            "--quiet",
            "--only-binary",
            ":all:",
            f"numpy=={release}",
        )
        made[release] = folder
    return made


def numpy_there() -> dict[str, Any]:
    """Which numpy the interpreter has, and what it computes."""
    import sys

    import numpy as np

    matrix = np.arange(2500.0).reshape(50, 50) + 100 * np.eye(50)
    return {
        "release": np.__version__,
        "file": np.__file__,
        "prefix": sys.prefix,
        "executable": sys.executable,
        "inverse": float(np.linalg.inv(matrix).sum()),
        "sum": float(np.random.default_rng(3).random(1000).sum()),
    }


def test_two_releases_of_numpy_work_side_by_side(two_venvs: dict[str, Path]) -> None:
    hosts = {release: atoll.Interpreter(kind="isolate", venv=folder) for release, folder in two_venvs.items()}
    try:
        with ThreadPoolExecutor(2) as pool:
            for _ in range(3):
                calls = {release: pool.submit(host.call, numpy_there) for release, host in hosts.items()}
                answers = {release: call.result() for release, call in calls.items()}
        here = numpy_there()
    finally:
        for host in hosts.values():
            host.close()

    assert {release: answer["release"] for release, answer in answers.items()} == {name: name for name in two_venvs}
    for release, answer in answers.items():
        folder = two_venvs[release]
        assert answer["file"].startswith(str(folder))
        assert (answer["prefix"], answer["executable"]) == (str(folder), str(folder / "bin" / "python"))
        assert answer["inverse"] == pytest.approx(here["inverse"])
        assert answer["sum"] == pytest.approx(here["sum"])


def test_arrays_go_from_one_release_to_the_other_as_bytes(two_venvs: dict[str, Path]) -> None:
    def make(outbox: atoll.Sender[Any]) -> None:
        import numpy as np

        outbox.send((np.arange(1000.0).tobytes(), "float64"))

    def total(inbox: atoll.Receiver[Any]) -> float:
        import numpy as np

        data, kind = inbox.recv()
        return float(np.frombuffer(data, kind).sum())

    channel = atoll.Channel[Any](1)
    old, new = two_venvs.values()
    with atoll.Interpreter(kind="isolate", venv=old) as first, atoll.Interpreter(kind="isolate", venv=new) as second:
        first.call(make, channel.sender)

        assert second.call(total, channel.receiver) == sum(range(1000))


def test_child_processes_of_an_isolate_with_a_venv_start_in_that_venv(two_venvs: dict[str, Path]) -> None:
    def work() -> str:
        import subprocess
        import sys

        source = "import numpy, sys; print(numpy.__version__, sys.prefix)"
        return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout

    for release, folder in two_venvs.items():
        with atoll.Interpreter(kind="isolate", venv=folder) as host:
            assert host.call(work).split() == [release, str(folder)]


def test_a_venv_does_not_see_the_packages_of_the_caller(two_venvs: dict[str, Path]) -> None:
    def has_pytest() -> bool:
        from importlib.util import find_spec

        return find_spec("pytest") is not None

    assert has_pytest()
    for folder in two_venvs.values():
        with atoll.Interpreter(kind="isolate", venv=folder) as host:
            assert not host.call(has_pytest)
