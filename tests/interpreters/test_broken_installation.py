"""Files of Atoll that do not belong together: whoever waits for a host learns why, and soon."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Child

import atoll

type Broken = Callable[[str, str, str], list[str]]

PREFACE = """
    import sys
    sys.path.insert(0, {folder!r})
    import atoll

    kind = {kind!r}

    def tell(verb):
        try:
            print("got", verb())
        except atoll.AtollError as error:
            print(type(error).__name__, error)
"""


@pytest.fixture
def broken(kind: str, tmp_path: Path, start_child: Callable[[str], Child]) -> Broken:
    """Run a script with a copy of the package in which a line of the agent is another one; what it prints, by lines."""

    def run(line: str, instead: str, script: str) -> list[str]:
        package = tmp_path / "broken" / "atoll"
        shutil.copytree(Path(atoll.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        agent = package / "_agent.py"
        source = agent.read_text()
        assert source.count(line) == 1
        agent.write_text(source.replace(line, instead))
        code, out, err = start_child(PREFACE.format(folder=str(package.parent), kind=kind) + script).end()
        assert code == 0, err
        return out.splitlines()

    return run


LOOP = "    time.sleep = _native.sleep\n"
NEWER_LOOP = "    time.sleep = _native.sleep_of_another_release\n"


def test_an_agent_that_cannot_begin_its_loop_fails_every_task_with_the_reason(broken: Broken) -> None:
    told = broken(
        LOOP,
        NEWER_LOOP,
        """
    tell(lambda: atoll.run(pow, 2, 3, kind=kind))
    tell(lambda: atoll.run(pow, 2, 3, kind=kind))
    with atoll.Interpreter(kind) as host:
        tell(lambda: host.exec("pass"))
        tell(lambda: host.call(pow, 2, 3))
    """,
    )
    assert len(told) == 4
    for line in told:
        assert line.startswith("HostDied cannot run the task (the agent of its host fails: AttributeError"), line
        assert "sleep_of_another_release" in line
        assert line.endswith("; start the process again, and reinstall atoll if that does not help")


def test_a_pool_whose_agents_cannot_begin_their_loops_is_broken_and_says_why(broken: Broken) -> None:
    told = broken(
        LOOP,
        NEWER_LOOP,
        """
    with atoll.Pool(2, kind) as pool:
        tell(lambda: pool.submit(pow, 2, 3).result(30))
    """,
    )
    assert len(told) == 1
    assert told[0].startswith("BrokenPool ")
    assert "sleep_of_another_release" in told[0]


def test_a_loop_that_fails_with_a_task_in_hand_costs_that_task_only(broken: Broken) -> None:
    told = broken(
        "        _perform(job)\n",
        "        _perform({'unlucky': None}.get(job.name, job))\n",
        """
    for name in ("unlucky", "lucky", "unlucky", "lucky"):
        tell(lambda: atoll.spawn(pow, 2, 3, kind=kind, name=name).result(30))
    """,
    )
    assert [line.split()[0] for line in told] == ["HostDied", "got", "HostDied", "got"]


def test_an_agent_that_cannot_be_imported_is_a_host_that_cannot_be_had(broken: Broken) -> None:
    told = broken(
        "_MOST_SOURCES = 64\n",
        "_MOST_SOURCES = 64 if _native.current_host() == 1 else _native.most_sources\n",
        """
    tell(lambda: atoll.run(pow, 2, 3, kind=kind))
    tell(lambda: atoll.Interpreter(kind))
    """,
    )
    assert [line.split()[0] for line in told] == ["HostUnavailable", "HostUnavailable"]
    assert all("most_sources" in line for line in told)
