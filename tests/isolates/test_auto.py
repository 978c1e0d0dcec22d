"""`kind="auto"`: isolates where they are to be had, else sub-interpreters, and it says so once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.isolates.programs import Done, check

import atoll
from atoll import HostUnavailable, Interpreter, _environment

type RunProgram = Callable[..., Done]


@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing has been said yet, and no isolate been had by the crew, as at the start of a program."""
    monkeypatch.setattr(_environment, "_said_what_auto_does", False)
    monkeypatch.setattr(_environment, "_auto_has_isolates", False)
    return monkeypatch


@pytest.fixture
def full(unsaid: pytest.MonkeyPatch) -> None:
    """A process whose isolates are all in use."""
    unsaid.setattr(_environment, "room", lambda: _environment.Room(5, 5, 0, ""))


@pytest.fixture
def elsewhere(unsaid: pytest.MonkeyPatch) -> None:
    """A machine that cannot have isolates."""
    unsaid.setattr(_environment, "room", lambda: _environment.Room(0, 0, 0, "the C library is musl, not glibc"))


@pytest.mark.usefixtures("isolates_here")
def test_auto_is_an_isolate_where_one_is_to_be_had() -> None:
    with Interpreter() as host:
        assert (host.kind, host.name) == ("isolate", f"isolate-{host.id}")
        (listed,) = [one for one in atoll.list_hosts() if one.id == host.id]
        assert listed.kind == "isolate"


@pytest.mark.usefixtures("full")
def test_a_full_process_tells_the_count_and_the_remedy() -> None:
    with pytest.raises(HostUnavailable, match=r"all 5 that fit.*close one, or .*atoll run.*glibc\.rtld\.nns=16"):
        Interpreter(kind="isolate")
    isolate = atoll.capabilities()["isolate"]
    assert not isolate.available
    assert "all 5" in isolate.reason
    assert "atoll run" in isolate.remedy


@pytest.mark.usefixtures("full")
def test_auto_falls_back_to_a_sub_interpreter_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        with Interpreter() as host:
            assert host.kind == "interpreter"
            assert host.call(abs, -1) == 1

    (record,) = [record for record in caplog.records if record.name == "atoll"]
    assert record.levelno == logging.WARNING
    assert "sub-interpreter is used instead" in record.getMessage()
    assert "atoll run" in record.getMessage()


@pytest.mark.usefixtures("elsewhere")
def test_a_machine_without_isolates_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "atoll"), Interpreter() as host:
        assert host.kind == "interpreter"

    (record,) = [record for record in caplog.records if record.name == "atoll"]
    assert record.levelno == logging.INFO
    assert "musl" in record.getMessage()


@pytest.mark.usefixtures("elsewhere")
def test_a_machine_without_isolates_says_why_when_one_is_wanted() -> None:
    with pytest.raises(HostUnavailable, match="musl"):
        Interpreter(kind="isolate")
    with pytest.raises(HostUnavailable, match="musl"):
        _environment.for_crew("isolate")
    assert _environment.for_crew("auto") is None
    assert atoll.capabilities()["isolate"].reason == "the C library is musl, not glibc"


def test_a_crew_that_has_isolates_gets_no_sub_interpreters(unsaid: pytest.MonkeyPatch) -> None:
    unsaid.setattr(_environment, "room", lambda: _environment.Room(2, 1, 0, ""))
    assert _environment.for_crew("auto") is not None

    unsaid.setattr(_environment, "room", lambda: _environment.Room(2, 2, 0, ""))
    with pytest.raises(HostUnavailable, match="all 2"):
        _environment.for_crew("auto")


def test_fewer_isolates_than_cores_are_said_once(unsaid: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    unsaid.setattr(_environment, "room", lambda: _environment.Room(5, 0, 0, ""))
    unsaid.setattr(_environment, "cores", lambda: 64)
    for _ in range(3):
        assert _environment.for_crew("auto") is not None

    (record,) = [record for record in caplog.records if record.name == "atoll"]
    assert "5 isolates fit into this process, for 64 cores" in record.getMessage()


PAST_THE_LIMIT = """
    import logging, atoll

    logging.basicConfig(format="%(name)s: %(message)s")
    limit = atoll.capabilities().isolates.fit
    hosts = [atoll.Interpreter(kind="isolate") for _ in range(limit)]
    try:
        atoll.Interpreter(kind="isolate")
    except atoll.HostUnavailable as error:
        print(f"all {limit}" in str(error), "atoll run" in str(error))
    hosts.append(atoll.Interpreter())
    hosts.append(atoll.Interpreter())
    print([host.kind for host in hosts[limit:]])
    print(sorted({host.call(abs, -number) == number for number, host in enumerate(hosts)}))
    hosts[0].close()
    with atoll.Interpreter() as host:
        print(host.kind)
    for host in hosts:
        host.close()
"""


@pytest.mark.usefixtures("isolates_here")
def test_past_the_limit_the_real_thing_says_so_and_auto_falls_back(run_program: RunProgram) -> None:
    done = run_program(PAST_THE_LIMIT)

    assert check(done).splitlines() == ["True True", "['interpreter', 'interpreter']", "[True]", "isolate"]
    assert done.err.count("a sub-interpreter is used instead") == 1


NO_ROOM_FOR_A_CREW = """
    import atoll

    def where():
        return atoll.running().host_id

    def kinds():
        found = {task.result() for task in [atoll.spawn(where) for _ in range(10)]}
        return {host.kind for host in atoll.list_hosts() if host.id in found}

    if __name__ == "__main__":
        hosts = [atoll.Interpreter(kind="isolate") for _ in range(atoll.capabilities().isolates.fit)]
        print(kinds())
        for host in hosts:
            host.close()
        print(kinds())
"""


@pytest.mark.usefixtures("isolates_here")
def test_tasks_take_sub_interpreters_while_no_isolate_is_left_and_the_log_says_so(run_program: RunProgram) -> None:
    done = run_program(NO_ROOM_FOR_A_CREW)

    assert check(done).splitlines() == ["{'interpreter'}", "{'isolate'}"]
    assert done.err.count("a sub-interpreter is used instead") == 1


@pytest.mark.usefixtures("isolates_here")
def test_tasks_without_a_kind_run_in_isolates(run_program: RunProgram) -> None:
    done = run_program("""
        import atoll

        def where():
            import numpy as np
            return atoll.running().host_id, float(np.ones(3).sum())

        if __name__ == "__main__":
            answers = set(atoll.map(lambda _: where(), range(200), chunksize=1))
            kinds = {host.id: host.kind for host in atoll.list_hosts()}
            print({kinds[host] for host, _ in answers}, {total for _, total in answers})
    """)
    assert check(done).strip() == "{'isolate'} {3.0}"


@pytest.mark.usefixtures("isolates_here")
@pytest.mark.parametrize("library", ["/nowhere/libpython.so", "{noise}"], ids=["missing", "no library"])
def test_tasks_run_in_sub_interpreters_if_the_library_is_not_to_be_had(
    run_program: RunProgram, tmp_path: Path, library: str
) -> None:
    noise = tmp_path / "noise.so"
    noise.write_bytes(b"no library at all")
    source = """
        import atoll

        def where():
            return atoll.running().host_id

        if __name__ == "__main__":
            found = {atoll.run(where) for _ in range(3)}
            print({host.kind for host in atoll.list_hosts() if host.id in found})
            with atoll.Interpreter() as host:
                print(host.kind)
            try:
                atoll.run(where, kind="isolate")
            except atoll.HostUnavailable as error:
                print("refused")
    """
    done = run_program(source, env={"ATOLL_LIBPYTHON": library.format(noise=noise)})

    assert check(done).splitlines() == ["{'interpreter'}", "interpreter", "refused"]
    assert done.err.count("a sub-interpreter is used instead") == 1
