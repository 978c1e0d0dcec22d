"""`list_hosts` and `capabilities` tell the truth."""

from __future__ import annotations

import dataclasses
import sys

import pytest

import atoll
from atoll import Interpreter


def test_the_main_interpreter_is_always_there() -> None:
    first = atoll.list_hosts()[0]
    assert (first.id, first.kind) == (1, "main")


def test_an_interpreter_is_listed_while_it_is_open(kind: str) -> None:
    with Interpreter(name="listed") as host:
        (found,) = [one for one in atoll.list_hosts() if one.id == host.id]
        assert (found.name, found.kind, found.state, found.running) == ("listed", kind, "ready", 0)
    assert host.id not in {one.id for one in atoll.list_hosts()}


def test_a_running_task_is_counted() -> None:
    gate: atoll.Channel[int] = atoll.Channel()
    started: atoll.Channel[int] = atoll.Channel()

    def wait() -> int:
        current = atoll.running()
        assert current is not None
        started.send(current.host_id)
        return gate.recv()

    task = atoll.spawn(wait)
    host = started.recv(timeout=30)
    (found,) = [one for one in atoll.list_hosts() if one.id == host]
    assert found.running >= 1
    assert found.threads >= 1
    gate.send(1)
    task.join(30)


def test_every_kind_is_judged_with_a_reason_and_a_remedy() -> None:
    capabilities = atoll.capabilities()
    assert [capability.kind for capability in capabilities] == ["interpreter", "isolate", "process", "thread"]
    for capability in capabilities:
        assert capability.reason
        assert bool(capability.remedy) is not capability.available


@pytest.mark.parametrize("kind", ["interpreter", "isolate", "process", "thread"])
def test_a_capability_is_what_really_happens(kind: str) -> None:
    capability = atoll.capabilities()[kind]
    if capability.available:
        assert atoll.run(abs, -1, kind=kind) == 1
    else:
        with pytest.raises(atoll.HostUnavailable, match=capability.reason):
            atoll.run(abs, -1, kind=kind)


def test_an_unknown_kind_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        atoll.capabilities()["moon"]


def test_capabilities_are_frozen_and_tell_the_python() -> None:
    capabilities = atoll.capabilities()
    assert capabilities.python == sys.version.split()[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        capabilities.cores = 1000  # type: ignore[misc]
