"""`spawn`, `run`, `running` and the shape of a Task."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

import atoll
from atoll import Channel, Task, TaskCancelled

type RunChild = Callable[[str], tuple[int, str, str]]


def add(left: int, right: int) -> int:
    return left + right


def wait_for(gate: atoll.Receiver[object]) -> object:
    return gate.recv()


def spin(started: atoll.Sender[int]) -> None:
    started.send(1)
    while True:
        pass


def announce_and_wait(started: atoll.Sender[int]) -> None:
    started.send(1)
    started.send(2)  # nobody takes it


def test_spawn_returns_a_task_whose_result_is_what_the_function_returned() -> None:
    assert atoll.spawn(add, 2, right=3).result(timeout=30) == 5


def test_spawn_runs_in_another_interpreter() -> None:
    sys.modules["atoll_marker"] = sys  # only this interpreter has it
    try:
        assert atoll.run(lambda: "atoll_marker" in __import__("sys").modules) is False
    finally:
        del sys.modules["atoll_marker"]


def test_spawn_of_something_not_callable_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="not callable"):
        atoll.spawn(3)  # type: ignore[arg-type]


def test_spawn_of_an_async_generator_function_says_what_to_do_instead() -> None:
    async def fetch() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="pass an async function that sends them to a Channel"):
        atoll.spawn(fetch)


def test_spawn_with_an_argument_that_cannot_be_cloned_names_its_path() -> None:
    with pytest.raises(atoll.CloneError) as caught:
        atoll.spawn(add, 1, right=[threading.Lock()])  # type: ignore[arg-type]
    assert caught.value.path == "kwargs['right'][0]"
    assert caught.value.type_name == "lock"


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_spawn_on_a_kind_of_a_later_release_says_so(kind: str) -> None:
    with pytest.raises(atoll.HostUnavailable, match="not in this release"):
        atoll.spawn(add, 1, 2, kind=kind)


def test_spawn_on_an_unknown_kind_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="moon"):
        atoll.spawn(add, 1, 2, kind="moon")


def test_run_waits_for_the_result() -> None:
    assert atoll.run(math.factorial, 20) == math.factorial(20)


def test_running_is_none_outside_of_a_task() -> None:
    assert atoll.running() is None


def test_running_inside_a_task_tells_its_id_and_name() -> None:
    task = atoll.spawn(lambda: tuple(atoll.running() or ()), name="worker bee")  # type: ignore[arg-type]
    number, name, host = task.result()
    assert (number, name) == (task.id, "worker bee")
    assert host != 1


def test_running_without_a_name_matches_the_name_of_the_handle() -> None:
    def own_name() -> str:
        current = atoll.running()
        assert current is not None
        return current.name

    task = atoll.spawn(own_name)
    assert task.result() == task.name == f"task-{task.id}"


def test_running_inside_a_thread_of_a_task_is_none() -> None:
    def ask_in_thread() -> bool:
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(atoll.running() is None))
        thread.start()
        thread.join()
        return answers[0]

    assert atoll.run(ask_in_thread)


def test_a_task_may_spawn_tasks() -> None:
    def outer(depth: int) -> int:
        return 1 if depth == 0 else 1 + atoll.run(outer, depth - 1)

    assert atoll.run(outer, 3) == 4


def test_more_tasks_than_cores_block_at_once_and_all_end() -> None:
    gate: Channel[object] = Channel(None)
    tasks = [atoll.spawn(wait_for, gate.receiver) for _ in range(50)]
    gate.send_many(list(range(50)))
    assert sorted(task.result(timeout=30) for task in tasks) == list(range(50))  # type: ignore[type-var]


# threading.Thread's shape ----------------------------------------------------------------------------------------


def test_task_has_the_life_of_a_thread() -> None:
    gate: Channel[object] = Channel()
    task = Task(target=wait_for, args=(gate.receiver,), name="waiter")
    assert (task.id, task.is_alive(), task.done()) == (None, False, False)
    task.start()
    assert task.is_alive()
    gate.send("go")
    assert task.join(30) is None  # type: ignore[func-returns-value]
    assert (task.is_alive(), task.done(), task.result()) == (False, True, "go")


def test_task_takes_kwargs_and_an_iterable_of_args() -> None:
    task = Task(add, iter([1]), {"right": 2})
    task.start()
    assert task.result() == 3


@pytest.mark.parametrize("verb", ["result", "exception", "join", "cancel"])
def test_a_verb_before_start_is_a_runtime_error(verb: str) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        getattr(Task(add, (1, 2)), verb)()


def test_a_second_start_is_a_runtime_error() -> None:
    task = atoll.spawn(add, 1, 2)
    with pytest.raises(RuntimeError, match="started already"):
        task.start()
    task.result()


def test_a_start_that_failed_may_be_tried_again() -> None:
    state: list[object] = [threading.Lock()]
    task: Task[int] = Task(lambda: len(state))
    with pytest.raises(atoll.CloneError):
        task.start()
    state[0] = None
    task.start()
    assert task.result() == 1


def test_the_name_must_be_a_str() -> None:
    with pytest.raises(TypeError, match="pass a str"):
        atoll.spawn(add, 1, 2, name=3)  # type: ignore[arg-type]


def test_the_kind_must_be_a_str() -> None:
    with pytest.raises(TypeError, match="kind=3"):
        atoll.spawn(add, 1, 2, kind=3)  # type: ignore[arg-type]


def test_keyword_arguments_have_names_that_are_str() -> None:
    with pytest.raises(TypeError, match="names are str"):
        Task(add, (1,), {2: 3})  # type: ignore[dict-item]


def test_repr_tells_the_state() -> None:
    task = Task(add, (1, 2), name="sum")
    assert repr(task) == "<atoll.Task 'sum' not started>"
    task.start()
    task.join()
    assert repr(task) == "<atoll.Task 'sum' returned>"


def test_a_task_cannot_be_sent() -> None:
    task = atoll.spawn(add, 1, 2)
    with pytest.raises(atoll.CloneError, match=r"task.*Sender"):
        atoll.spawn(lambda: task.result())
    task.join()


# Waiting ---------------------------------------------------------------------------------------------------------


def test_result_with_timeout_zero_of_a_running_task_is_a_timeout() -> None:
    gate: Channel[object] = Channel()
    task = atoll.spawn(wait_for, gate.receiver)
    with pytest.raises(TimeoutError, match="still runs"):
        task.result(timeout=0)
    with pytest.raises(TimeoutError):
        task.exception(timeout=0.01)
    gate.send(None)
    assert task.result() is None


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_negative_or_nan_timeout_is_a_value_error(timeout: float) -> None:
    task = atoll.spawn(add, 1, 2)
    with pytest.raises(ValueError, match="timeout"):
        task.result(timeout=timeout)
    task.join()


def test_a_timeout_that_is_no_number_is_a_type_error() -> None:
    task = atoll.spawn(add, 1, 2)
    with pytest.raises(TypeError, match="timeout"):
        task.join("soon")  # type: ignore[arg-type]
    task.join(timeout=1e300)


def test_result_again_gives_the_same_object() -> None:
    task = atoll.spawn(list, (1, 2))
    assert task.result() is task.result()


def test_result_in_many_threads_at_once_gives_the_same_object() -> None:
    gate: Channel[object] = Channel()
    task = atoll.spawn(wait_for, gate.receiver)
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(task.result())) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.send([1])
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(result is results[0] for result in results)


def test_exception_of_a_task_that_returned_is_none() -> None:
    assert atoll.spawn(add, 1, 2).exception() is None


def test_channel_ends_come_back_as_results() -> None:
    def make() -> atoll.Receiver[int]:
        channel: Channel[int] = Channel(4)
        channel.send(7)
        return channel.receiver

    assert atoll.run(make).recv() == 7


# Cancelling ------------------------------------------------------------------------------------------------------


def test_cancel_ends_a_task_that_waits() -> None:
    gate: Channel[object] = Channel()
    task = atoll.spawn(wait_for, gate.receiver)
    assert task.cancel()
    task.join(30)
    assert task.cancelled()
    with pytest.raises(TaskCancelled):
        task.result()
    with pytest.raises(TaskCancelled):
        task.exception()


def test_cancel_ends_a_task_that_computes() -> None:
    started: Channel[int] = Channel()
    task = atoll.spawn(spin, started.sender)
    started.recv(timeout=30)
    assert task.cancel()
    task.join(30)
    assert task.cancelled()


def test_cancel_lets_the_task_clean_up() -> None:
    def tidy(started: atoll.Sender[int], done: atoll.Sender[str]) -> None:
        try:
            spin(started)
        finally:
            done.send_nowait("tidy")

    started: Channel[int] = Channel()
    done: Channel[str] = Channel(1)
    task = atoll.spawn(tidy, started.sender, done.sender)
    started.recv(timeout=30)
    task.cancel()
    assert done.recv(timeout=30) == "tidy"
    task.join(30)
    assert task.cancelled()


def test_a_task_that_catches_its_cancellation_and_returns_was_not_cancelled() -> None:
    def stubborn(started: atoll.Sender[int]) -> str:
        try:
            spin(started)
        except atoll.Cancellation:
            return "kept going"
        return ""

    started: Channel[int] = Channel()
    task = atoll.spawn(stubborn, started.sender)
    started.recv(timeout=30)
    task.cancel()
    assert task.result(timeout=30) == "kept going"
    assert not task.cancelled()


def test_cancel_of_an_ended_task_is_true_and_changes_nothing() -> None:
    task = atoll.spawn(add, 1, 2)
    task.join()
    assert task.cancel()
    assert not task.cancelled()
    assert task.result() == 3


def test_an_exception_handler_for_exception_does_not_stop_a_cancellation() -> None:
    def careless(started: atoll.Sender[int]) -> None:
        while True:
            try:
                spin(started)
            except Exception:
                continue

    started: Channel[int] = Channel()
    task = atoll.spawn(careless, started.sender)
    started.recv(timeout=30)
    task.cancel()
    task.join(30)
    assert task.cancelled()


@pytest.mark.parametrize("state", ["computing", "waiting"])
def test_a_cancellation_arrives_within_50_ms(state: str) -> None:
    delays = []
    for _ in range(3):  # a busy machine may be late once; a cancellation that polls is late every time
        started: Channel[int] = Channel(0)
        fn = spin if state == "computing" else announce_and_wait
        task = atoll.spawn(fn, started.sender)
        started.recv(timeout=30)
        began = time.monotonic()
        task.cancel()
        task.join(30)
        delays.append(time.monotonic() - began)
        if delays[-1] < 0.05:
            return
    pytest.fail(f"too late each time: {delays}")


def test_cancel_of_a_task_in_c_code_says_false_and_strikes_when_that_code_returns() -> None:
    def stuck(started: atoll.Sender[int]) -> None:
        from hashlib import pbkdf2_hmac

        started.send(1)
        pbkdf2_hmac("sha256", b"", b"", 1_000_000)  # half a second of C code that nothing reaches
        spin(started)

    started: Channel[int] = Channel(1)
    task = atoll.spawn(stuck, started.sender)
    started.recv(timeout=30)
    assert not task.cancel()
    task.join(30)
    assert task.cancelled()


def test_many_threads_may_spawn_at_once() -> None:
    results: list[int] = []

    def spawn_some(base: int) -> None:
        results.extend(atoll.spawn(lambda number: number + base, number).result() for number in range(20))

    threads = [threading.Thread(target=spawn_some, args=(base,)) for base in range(0, 1600, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(base + number for base in range(0, 1600, 100) for number in range(20))


def test_the_worker_is_sound_after_a_cancellation() -> None:
    for _ in range(20):
        started: Channel[int] = Channel()
        task = atoll.spawn(spin, started.sender)
        started.recv(timeout=30)
        task.cancel()
        task.join(30)
    assert [atoll.run(add, number, 1) for number in range(50)] == list(range(1, 51))


# Output ----------------------------------------------------------------------------------------------------------


def test_what_a_task_prints_is_out_when_it_has_ended(capfd: pytest.CaptureFixture[str]) -> None:
    atoll.run(lambda: print("from the task"))
    assert capfd.readouterr().out == "from the task\n"


def test_a_dropped_task_goes_on() -> None:
    gate: Channel[object] = Channel()
    answers: Channel[object] = Channel()

    def answer(gate: atoll.Receiver[object], answers: atoll.Sender[object]) -> None:
        answers.send(gate.recv())

    atoll.spawn(answer, gate.receiver, answers.sender)
    gate.send("still here")
    assert answers.recv(timeout=30) == "still here"
