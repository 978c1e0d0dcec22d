"""`atoll demo --numbers`: what it computes, where it cannot run, and the whole of it where it can."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.cli.commands import atoll

import atoll as library
from atoll.cli import numbers
from atoll.cli.usage import UsageError

needs_isolates = pytest.mark.skipif(
    not library.capabilities()["isolate"].available, reason="this machine has no isolates"
)
needs_sklearn = pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed")


def swept(results: list[numbers.Result]) -> numbers.Sweep:
    return numbers.Sweep(1, 1, 1, 0.0, 1.0, 1.0, results)


@needs_isolates
@needs_sklearn
@pytest.mark.slow
def test_the_numeric_demo_finds_the_same_with_one_worker_and_with_two(tmp_path: Path) -> None:
    written = tmp_path / "result.json"

    done = atoll("demo", "--numbers", "--workers", 2, "--json", written)

    assert done.returncode == 0, done.stderr
    assert "results of both passes are equal" in done.stdout
    document = json.loads(written.read_text())
    assert document["equal"] is True
    assert [(one["workers"], one["blas_threads"]) for one in document["passes"]] == [(1, 1), (2, 1)]
    # A task goes to an isolate that is idle, so two that start together are in two; a machine with one core has one.
    assert document["passes"][1]["isolates"] == min(2, os.process_cpu_count() or 1)
    assert len(document["results"]) == len(numbers.jobs())


@needs_sklearn
def test_more_clusters_fit_better_and_more_directions_hold_more() -> None:
    few, many = numbers.do(("clusters", 3, 0)), numbers.do(("clusters", 12, 0))
    share = numbers.do(("spectrum", 0, 0))

    assert many[0] < few[0]  # inertia
    assert many[2] > few[2] > 0  # agreement with the ten true digits
    assert share == sorted(share)
    assert 0 < share[0] < share[-1] < 1


@needs_sklearn
def test_a_job_gives_the_same_every_time() -> None:
    assert numbers.do(("clusters", 5, 1)) == numbers.do(("clusters", 5, 1))
    assert numbers.do(("clusters", 5, 1)) != numbers.do(("clusters", 5, 2))


def test_every_job_is_there_once() -> None:
    jobs = numbers.jobs()

    assert len(set(jobs)) == len(jobs) == len(numbers.CLUSTERS) * numbers.SEEDS + numbers.SAMPLES


def test_results_that_differ_in_the_last_bit_agree_and_others_are_an_error() -> None:
    exact = swept([("spectrum", 0, 0, [0.5, 1.0])])
    close = swept([("spectrum", 0, 0, [0.5, 1.0 + 2**-50])])
    wrong = swept([("spectrum", 0, 0, [0.5, 1.001])])

    assert "equal, bit for bit" in numbers.compare(exact, exact)
    assert "agree to" in numbers.compare(exact, close)
    with pytest.raises(RuntimeError, match="differ"):
        numbers.compare(exact, wrong)


def test_the_best_seed_of_each_number_of_clusters_is_the_one_with_the_least_inertia() -> None:
    found = swept([("clusters", 2, 0, [9.0, 1.0]), ("clusters", 2, 1, [7.0, 2.0]), ("clusters", 3, 0, [5.0, 3.0])])

    assert numbers.best_clusters(found) == {2: [7.0, 2.0], 3: [5.0, 3.0]}


def test_without_scikit_learn_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "find_spec", lambda name: None)

    with pytest.raises(UsageError, match=f"{sys.executable} -m pip install scikit-learn"):
        numbers.check()


@pytest.mark.skipif(find_spec("sklearn") is not None, reason="scikit-learn is installed")
def test_without_scikit_learn_the_command_says_so_in_one_line_and_exits_with_2() -> None:
    done = atoll("demo", "--numbers")

    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install scikit-learn" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@needs_isolates
def test_a_scikit_learn_that_does_not_import_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    for name in numbers.PACKAGES:
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    for module in ("numpy", "sklearn"):
        (tmp_path / module).mkdir()
        (tmp_path / module / "__init__.py").write_text("raise ImportError('needs libsea')")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))

    done = atoll("demo", "--numbers", variables={"PYTHONPATH": path})

    assert done.returncode == 2
    assert "needs libsea" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@needs_isolates
@needs_sklearn
def test_more_workers_than_isolates_fit_are_refused_with_the_way_to_have_more() -> None:
    done = atoll("demo", "--numbers", "--workers", 99)

    assert (done.returncode, done.stdout) == (2, "")
    assert "atoll run" in done.stderr


def test_numbers_of_a_path_are_refused_in_one_line() -> None:
    done = atoll("demo", "--numbers", "--path", ".")

    assert (done.returncode, done.stdout) == (2, "")
    assert "--path" in done.stderr
