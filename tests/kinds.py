"""Kinds of host, for suites whose subject behaves the same on each of them."""

from __future__ import annotations

import os

import pytest

import atoll

KINDS = ("interpreter", "isolate")
"""Every kind that this release can host."""


def skip_unless_available(kind: str) -> None:
    """Skip where this machine cannot have *kind*; fail where it is known to have it (ATOLL_REQUIRE_ISOLATES=1)."""
    capability = atoll.capabilities()[kind]
    if not capability.available:
        missing = pytest.fail if os.environ.get("ATOLL_REQUIRE_ISOLATES") else pytest.skip
        missing(f"no host of kind {kind!r} here: {capability.reason}")


@pytest.fixture(autouse=True, params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs every test of a suite once for each kind: what names no kind takes this one."""
    kind: str = request.param
    skip_unless_available(kind)
    for verb in (atoll.spawn, atoll.run, atoll.map, atoll.Task.__init__, atoll.TaskGroup.spawn):
        monkeypatch.setitem(verb.__kwdefaults__, "kind", kind)
    monkeypatch.setattr(atoll.Interpreter.__init__, "__defaults__", (kind,))
    return kind
