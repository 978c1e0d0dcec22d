"""The small parts of the command line keep the promises of their docstrings."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", [f"atoll.cli.{name}" for name in ("measure", "packages", "probes", "run", "table")])
def test_examples_in_docstrings_hold(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(module))

    assert outcome.attempted > 0
    assert outcome.failed == 0
