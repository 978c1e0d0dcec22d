"""Every package of the list does real work in four isolates at once, and gets what the main interpreter gets.

`workloads.py` is the work, `side_by_side.py` the program that runs it everywhere at the same time.
"""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from tests.isolates.programs import ROOT, check, needs, run_python
from tests.isolates.workloads import WORKLOADS

pytestmark = pytest.mark.usefixtures("isolates_here")


def installed() -> list[str]:
    """What can be tested here."""
    return [name for name in WORKLOADS if not missing(name)]


def missing(name: str) -> bool:
    """Whether a distribution is not there."""
    try:
        needs(name)
    except pytest.skip.Exception:
        return True
    return False


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_package_works_in_four_isolates_at_once_as_it_does_in_main(name: str) -> None:
    needs(name)

    done = run_python("-m", "tests.isolates.side_by_side", name)

    assert done.code == 0, "\n".join(done[1:])
    assert json.loads(done.out) == {"name": name, "hosts": 4, "wrong": []}


@pytest.mark.slow
def test_all_packages_work_together_in_the_same_four_isolates() -> None:
    names = installed()

    done = run_python("-m", "tests.isolates.side_by_side", *names)

    assert [json.loads(line) for line in check(done).splitlines()] == [
        {"name": name, "hosts": 4, "wrong": []} for name in names
    ]


def test_every_package_of_the_extra_has_a_workload() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = {re.match(r"[\w-]+", requirement)[0] for requirement in extras["packages"]}

    assert listed - {"threadpoolctl"} == WORKLOADS.keys()
