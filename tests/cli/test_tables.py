"""The small parts of the command line keep the promises of their docstrings."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["atoll.cli.table", "atoll.cli.measure"])
def test_examples_in_docstrings_hold(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(module))

    assert outcome.attempted > 0
    assert outcome.failed == 0
