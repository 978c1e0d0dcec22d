"""`joblib.Parallel` on isolates: results, errors, aborting, nesting, generators, threads of libraries."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import atoll

joblib = pytest.importorskip("joblib")
from joblib import Parallel, delayed, parallel_config  # noqa: E402
from tests.conftest import PATIENCE  # noqa: E402


def square(x: int) -> int:
    return x * x


def host_kind() -> tuple[str, int]:
    import atoll
    from atoll import _native

    del atoll
    return ("main" if _native.current_host() == 1 else "other"), os.getpid()


def fail_at_three(x: int) -> int:
    if x == 3:
        raise LookupError("three is not here")
    return x


def interrupt(x: int) -> None:
    raise KeyboardInterrupt


def spin(started: atoll.Sender[int], ended: atoll.Sender[str]) -> None:
    started.send(1)
    try:
        while True:
            pass
    except atoll.Cancellation:
        ended.send("cancelled")
        raise


def nested(x: int) -> tuple[str, list[int]]:
    parallel = Parallel(n_jobs=2)
    return type(parallel._backend).__name__, parallel(delayed(square)(i) for i in range(x))


def nested_twice(x: int) -> list[str]:
    def name(_: int) -> str:
        return type(Parallel(n_jobs=2)._backend).__name__

    found: list[str] = Parallel(n_jobs=2)(delayed(name)(i) for i in range(x))
    return found


def explicitly_nested(x: int) -> list[int]:
    import atoll.joblib

    del atoll
    found: list[int] = Parallel(n_jobs=2, backend="atoll")(delayed(square)(i) for i in range(x))
    return found


def library_threads() -> set[int]:
    import numpy
    from threadpoolctl import threadpool_info

    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    return {pool["num_threads"] for pool in threadpool_info()}


def thread_variable() -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def warn(x: int) -> int:
    warnings.warn(f"from task {x}", UserWarning, stacklevel=1)
    return x


def test_results_come_in_order(backend: str) -> None:
    assert Parallel(n_jobs=2, backend=backend)(delayed(square)(i) for i in range(100)) == [i * i for i in range(100)]


def test_tasks_run_in_other_interpreters_of_this_process(backend: str) -> None:
    assert set(Parallel(n_jobs=2, backend=backend)(delayed(host_kind)() for _ in range(4))) == {("other", os.getpid())}


def test_the_backend_of_a_context_is_used(backend: str) -> None:
    with parallel_config(backend=backend, n_jobs=2):
        assert Parallel()(delayed(host_kind)() for _ in range(2))[0][0] == "other"
    with joblib.parallel_backend(backend, n_jobs=2):
        assert Parallel()(delayed(host_kind)() for _ in range(2))[0][0] == "other"


def test_workers_stay_between_calls(backend: str) -> None:
    def keep(number: int) -> int:
        import builtins

        before: int = getattr(builtins, "kept", 0)
        builtins.kept = before + 1  # type: ignore[attr-defined]
        return before

    parallel = Parallel(n_jobs=2, backend=backend, batch_size=1)
    first = parallel(delayed(keep)(i) for i in range(10))
    assert sum(first) < sum(parallel(delayed(keep)(i) for i in range(10)))


def test_closures_and_lambdas_travel(backend: str) -> None:
    offset = 10
    assert Parallel(n_jobs=2, backend=backend)(delayed(lambda x: x + offset)(i) for i in range(3)) == [10, 11, 12]


def test_one_job_runs_here(backend: str) -> None:
    assert Parallel(n_jobs=1, backend=backend)([delayed(threading.get_ident)()]) == [threading.get_ident()]
    assert Parallel(n_jobs=1, backend=backend)([delayed(host_kind)()])[0][0] == "main"


def test_no_jobs_are_refused(backend: str) -> None:
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0, backend=backend)([delayed(square)(1)])


def test_negative_jobs_count_from_the_cores(backend: str) -> None:
    with parallel_config(backend=backend):
        assert joblib.effective_n_jobs(-1) == joblib.cpu_count()


def test_an_error_arrives_as_itself_with_the_remote_traceback(backend: str) -> None:
    with pytest.raises(LookupError, match="three is not here") as caught:
        Parallel(n_jobs=2, backend=backend)(delayed(fail_at_three)(i) for i in range(6))
    assert "fail_at_three" in str(caught.value.__cause__)


def test_the_workers_are_usable_after_an_error(backend: str) -> None:
    with Parallel(n_jobs=2, backend=backend) as parallel:
        with pytest.raises(LookupError):
            parallel(delayed(fail_at_three)(i) for i in range(6))
        with pytest.raises(KeyboardInterrupt):
            parallel([delayed(interrupt)(1)])
        assert parallel(delayed(square)(i) for i in range(6)) == [0, 1, 4, 9, 16, 25]


def test_what_cannot_be_cloned_is_named(backend: str) -> None:
    with pytest.raises(atoll.CloneError, match="lock"):
        Parallel(n_jobs=2, backend=backend)([delayed(square)(threading.Lock()), delayed(square)(1)])


def test_what_cannot_be_cloned_is_named_even_late(backend: str) -> None:
    # Dispatched by the thread that takes the results, where nobody would see an exception.
    numbers: Iterator[Any] = iter([*range(20), threading.Lock()])
    with pytest.raises(atoll.CloneError, match="lock"):
        Parallel(n_jobs=2, backend=backend, batch_size=1, pre_dispatch=2)(delayed(square)(i) for i in numbers)


def test_what_cannot_be_rebuilt_fails_its_call(backend: str) -> None:
    class Refuses:
        def __reduce__(self) -> Any:
            return refuse, ()

    def refuse() -> None:
        raise LookupError("never again")

    with pytest.raises(LookupError, match="never again"):
        Parallel(n_jobs=2, backend=backend)(delayed(id)(Refuses()) for _ in range(2))


def test_an_error_cancels_the_tasks_that_run(backend: str) -> None:
    started: atoll.Channel[int] = atoll.Channel(None)
    ended: atoll.Channel[str] = atoll.Channel(None)

    def fail_once_the_other_runs(signal: atoll.Receiver[int]) -> None:
        signal.recv()
        raise LookupError

    with pytest.raises(LookupError):
        Parallel(n_jobs=2, backend=backend, batch_size=1)(
            [delayed(spin)(started.sender, ended.sender), delayed(fail_once_the_other_runs)(started.receiver)]
        )
    assert ended.recv(PATIENCE) == "cancelled"


@pytest.mark.parametrize("ahead", [2, 4], ids=["late", "early"])
def test_an_error_of_what_makes_the_tasks_cancels_those_that_run(backend: str, ahead: int) -> None:
    started: atoll.Channel[int] = atoll.Channel(None)
    ended: atoll.Channel[str] = atoll.Channel(None)

    def tasks() -> Iterator[Any]:
        yield delayed(spin)(started.sender, ended.sender)
        yield delayed(square)(2)
        started.recv(PATIENCE)
        raise LookupError("no more tasks")

    with pytest.raises(LookupError, match="no more tasks"):
        Parallel(n_jobs=2, backend=backend, batch_size=1, pre_dispatch=ahead)(tasks())
    assert ended.recv(PATIENCE) == "cancelled"


def test_a_timeout_cancels_the_tasks(backend: str) -> None:
    started: atoll.Channel[int] = atoll.Channel(None)
    ended: atoll.Channel[str] = atoll.Channel(None)
    with pytest.raises((TimeoutError, joblib.parallel.TimeoutError)):
        Parallel(n_jobs=2, backend=backend, timeout=0.2)(delayed(spin)(started.sender, ended.sender) for _ in range(2))
    assert ended.recv(PATIENCE) == "cancelled"


@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_generators_give_results_as_they_come(backend: str, return_as: str) -> None:
    results = Parallel(n_jobs=2, backend=backend, return_as=return_as)(delayed(square)(i) for i in range(20))
    assert next(results) in {i * i for i in range(20)}
    assert len(list(results)) == 19


@pytest.mark.filterwarnings("ignore:.*tasks.*:UserWarning")
def test_a_generator_that_is_dropped_cancels_its_tasks_and_no_others(backend: str) -> None:
    started: atoll.Channel[int] = atoll.Channel(None)
    ended: atoll.Channel[str] = atoll.Channel(None)
    with parallel_config(backend=backend, n_jobs=2):
        dropped = Parallel(return_as="generator")(delayed(spin)(started.sender, ended.sender) for _ in range(2))
        started.recv(PATIENCE)
        kept = Parallel(return_as="generator")(delayed(square)(i) for i in range(4))
        dropped.close()
        assert list(kept) == [0, 1, 4, 9]
    assert ended.recv(PATIENCE) == "cancelled"


def test_only_so_many_tasks_are_taken_ahead(backend: str) -> None:
    gate: atoll.Channel[int] = atoll.Channel(None)
    taken = []

    def tasks() -> Iterator[Any]:
        for i in range(6):
            taken.append(i)
            yield delayed(gate.receiver.recv)()

    results = Parallel(n_jobs=2, backend=backend, batch_size=1, pre_dispatch=3, return_as="generator")(tasks())
    assert taken == [0, 1, 2]
    for i in range(6):
        gate.send(i)
    assert sorted(results) == [0, 1, 2, 3, 4, 5]


def test_tiny_tasks_are_batched(backend: str) -> None:
    with Parallel(n_jobs=2, backend=backend) as parallel:
        parallel(delayed(square)(i) for i in range(5000))
        assert parallel.n_dispatched_batches < 1000


def test_progress_is_printed(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    Parallel(n_jobs=2, backend=backend, verbose=60)(delayed(square)(i) for i in range(4))
    shown = capsys.readouterr().out
    assert "Using backend AtollBackend with 2 concurrent workers" in shown
    assert "Done   4 out of   4" in shown


def test_parallel_inside_a_task_uses_threads_then_nothing(backend: str) -> None:
    results = Parallel(n_jobs=2, backend=backend)(delayed(nested)(3) for _ in range(2))
    assert results == [("ThreadingBackend", [0, 1, 4])] * 2
    assert Parallel(n_jobs=2, backend=backend)([delayed(nested_twice)(2)] * 2) == [["SequentialBackend"] * 2] * 2


def test_the_backend_inside_a_task_opens_no_more_isolates(backend: str) -> None:
    before = len(atoll.list_hosts())
    assert Parallel(n_jobs=2, backend=backend)(delayed(explicitly_nested)(3) for _ in range(2)) == [[0, 1, 4]] * 2
    assert len(atoll.list_hosts()) <= max(before, 3)


def test_libraries_share_the_cores(backend: str) -> None:
    pytest.importorskip("threadpoolctl")
    share = max(joblib.cpu_count() // 2, 1)
    found = Parallel(n_jobs=2, backend=backend)(delayed(library_threads)() for _ in range(2))
    assert all(threads <= {share} for threads in found)


def test_inner_max_num_threads_is_what_libraries_get(backend: str) -> None:
    pytest.importorskip("threadpoolctl")
    with parallel_config(backend=backend, n_jobs=2, inner_max_num_threads=3):
        assert Parallel()(delayed(thread_variable)() for _ in range(2)) == ["3", "3"]
        assert Parallel()(delayed(library_threads)() for _ in range(2)) == [{3}, {3}]


def test_an_initializer_runs_in_each_worker(backend: str) -> None:
    def mark(text: str) -> None:
        os.environ["MARK"] = text

    def read() -> str | None:
        return os.environ.get("MARK")

    results = Parallel(n_jobs=2, backend=backend, initializer=mark, initargs=("done",))(
        delayed(read)() for _ in range(4)
    )
    assert results == ["done"] * 4


def test_arguments_of_an_initializer_may_be_arrays(backend: str) -> None:
    np = pytest.importorskip("numpy")

    def keep(array: Any) -> None:
        os.environ["TOTAL"] = str(array.sum())

    def total() -> str | None:
        return os.environ.get("TOTAL")

    for array in (np.ones(2), np.ones(3)):
        results = Parallel(n_jobs=2, backend=backend, initializer=keep, initargs=(array,))(
            delayed(total)() for _ in range(2)
        )
        assert results == [str(array.sum())] * 2


def test_an_initializer_that_fails_says_why_and_breaks_nothing_else(backend: str) -> None:
    def fail() -> None:
        raise LookupError("no such worker")

    with pytest.raises(atoll.BrokenPool) as caught:
        Parallel(n_jobs=2, backend=backend, initializer=fail)(delayed(square)(i) for i in range(4))
    assert isinstance(caught.value.__cause__, LookupError)
    assert Parallel(n_jobs=2, backend=backend)(delayed(square)(i) for i in range(2)) == [0, 1]


def test_calls_share_busy_workers_where_there_is_no_room_for_more(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atoll import pool

    gate: atoll.Channel[int] = atoll.Channel(None)
    waiting = Parallel(n_jobs=2, backend=backend, return_as="generator")(delayed(gate.receiver.recv)() for _ in [1])

    def refuse(*_: Any) -> None:
        raise atoll.HostUnavailable("cannot open an isolate (all are in use); close one")

    monkeypatch.setattr(pool, "_check_kind", refuse)
    assert Parallel(n_jobs=3, backend=backend)(delayed(square)(i) for i in range(4)) == [0, 1, 4, 9]
    gate.send(7)
    assert list(waiting) == [7]


def test_thousands_of_waiting_tasks_are_cancelled_at_once(backend: str) -> None:
    gate: atoll.Channel[int] = atoll.Channel(0)

    def wait_or_fail(number: int) -> int:
        if number == 1:
            raise LookupError
        return gate.recv()

    with pytest.raises(LookupError):
        Parallel(n_jobs=2, backend=backend, pre_dispatch="all", batch_size=1)(
            delayed(wait_or_fail)(number) for number in range(3000)
        )
    assert Parallel(n_jobs=2, backend=backend)(delayed(square)(i) for i in range(2)) == [0, 1]


def test_workers_can_be_sub_interpreters(backend: str) -> None:
    with parallel_config(backend=backend, n_jobs=2, kind="interpreter"):
        assert Parallel()(delayed(square)(i) for i in range(4)) == [0, 1, 4, 9]
    with pytest.raises(ValueError, match="kind='process'"), parallel_config(backend=backend, kind="process"):
        pass


def test_warnings_of_tasks_arrive(backend: str) -> None:
    atoll.joblib.shutdown()  # workers take over the filters as they are when they start
    with pytest.warns(UserWarning, match="from task"):
        Parallel(n_jobs=2, backend=backend)(delayed(warn)(i) for i in range(2))


def test_threads_may_use_the_backend_at_once(backend: str) -> None:
    results: dict[int, list[int]] = {}

    def work(number: int) -> None:
        results[number] = Parallel(n_jobs=2, backend=backend)(delayed(square)(i) for i in range(number, number + 20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == {number: [i * i for i in range(number, number + 20)] for number in range(4)}


def test_more_jobs_than_isolates_fit_are_fewer_and_a_warning_says_so(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atoll.joblib import _backend, _workers

    monkeypatch.setattr(_workers, "room", lambda kind: 2)
    monkeypatch.setattr(_backend, "_said", set())
    with pytest.warns(UserWarning, match="n_jobs=7 becomes 2"):
        assert Parallel(n_jobs=7, backend=backend)(delayed(square)(i) for i in range(3)) == [0, 1, 4]


def test_processes_do_the_work_where_there_are_no_isolates(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from atoll.joblib import _backend, _workers

    def refuse(kind: str) -> int:
        raise atoll.HostUnavailable("cannot open an isolate (this is a test); use another backend")

    monkeypatch.setattr(_workers, "room", refuse)
    monkeypatch.setattr(_backend, "_said", set())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            pids = Parallel(n_jobs=2, backend=backend)(delayed(os.getpid)() for _ in range(2))
            assert os.getpid() not in pids
    assert [str(one.message) for one in said if "this is a test" in str(one.message)] == [
        "backend 'atoll': joblib's own processes run the tasks: cannot open an isolate (this is a test); "
        "use another backend"
    ]


def test_results_are_there_without_waiting_for_joblibs_next_look(backend: str) -> None:
    parallel = Parallel(n_jobs=2, backend=backend)
    parallel([delayed(square)(1)] * 2)
    looks = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", looks.append)
        for _ in range(5):
            assert parallel(delayed(square)(i) for i in range(50)) == [i * i for i in range(50)]
    assert len(looks) <= 5  # a look may come while the last batch is being noted


def test_a_backend_can_be_pickled(backend: str) -> None:
    import pickle

    instance = joblib.parallel.BACKENDS[backend](nesting_level=1, inner_max_num_threads=2, initializer=square)
    copy = pickle.loads(pickle.dumps(instance))
    assert (copy.nesting_level, copy.inner_max_num_threads, copy.backend_kwargs) == (1, 2, {"initializer": square})


def test_shutdown_ends_the_workers_and_the_next_call_starts_new_ones(backend: str) -> None:
    Parallel(n_jobs=2, backend=backend)(delayed(square)(i) for i in range(2))
    atoll.joblib.shutdown()
    assert not [host for host in atoll.list_hosts() if (host.name or "").startswith("joblib")]
    began = time.monotonic()
    assert Parallel(n_jobs=2, backend=backend)(delayed(square)(i) for i in range(2)) == [0, 1]
    assert time.monotonic() - began < PATIENCE
