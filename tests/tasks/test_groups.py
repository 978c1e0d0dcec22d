"""TaskGroup: nobody outlives the block, and no error is lost."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import pytest

import atoll
from atoll import Channel, TaskCancelled, TaskGroup

type RunChild = Callable[[str], tuple[int, str, str]]


def fail(text: str) -> None:
    raise ValueError(text)


def wait_for(gate: atoll.Receiver[object]) -> object:
    return gate.recv()


def spin(started: atoll.Sender[int]) -> None:
    started.send(1)
    while True:
        pass


def test_the_block_leaves_when_all_tasks_have_ended() -> None:
    with TaskGroup() as group:
        tasks = [group.spawn(pow, number, 2) for number in range(10)]
    assert all(task.done() for task in tasks)
    assert [task.result() for task in tasks] == [number * number for number in range(10)]


def test_an_empty_group_leaves_at_once() -> None:
    with TaskGroup():
        pass


def test_the_first_error_cancels_the_others_and_comes_out_in_a_group() -> None:
    gate: Channel[object] = Channel()
    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        waiting = group.spawn(wait_for, gate.receiver)
        group.spawn(fail, "first")
    assert [str(error) for error in caught.value.exceptions] == ["first"]
    assert waiting.cancelled()


def test_the_first_error_cancels_the_others_while_the_body_still_runs() -> None:
    gate: Channel[object] = Channel()
    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        waiting = group.spawn(wait_for, gate.receiver)
        group.spawn(fail, "early")
        waiting.result(timeout=30)  # ends because the group cancels it
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


def test_errors_of_several_tasks_come_out_together() -> None:
    started: Channel[int] = Channel()

    def fail_on_cancel(started: atoll.Sender[int]) -> None:
        try:
            spin(started)
        finally:
            raise KeyError("while cleaning up")

    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        group.spawn(fail_on_cancel, started.sender)
        started.recv(timeout=30)
        group.spawn(fail, "first")
    assert {type(error) for error in caught.value.exceptions} == {ValueError, KeyError}


def test_a_body_that_raises_cancels_the_tasks_and_its_error_is_in_the_group() -> None:
    gate: Channel[object] = Channel()
    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        waiting = group.spawn(wait_for, gate.receiver)
        raise LookupError("body")
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert waiting.cancelled()


def test_a_body_that_raises_the_error_of_a_task_does_not_double_it() -> None:
    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        group.spawn(fail, "once").result()
    assert len(caught.value.exceptions) == 1


def test_a_keyboard_interrupt_of_the_body_is_raised_as_itself() -> None:
    gate: Channel[object] = Channel()
    with pytest.raises(KeyboardInterrupt), TaskGroup() as group:
        waiting = group.spawn(wait_for, gate.receiver)
        raise KeyboardInterrupt
    assert waiting.cancelled()


def test_a_system_exit_in_a_task_makes_a_base_exception_group() -> None:
    with pytest.raises(BaseExceptionGroup) as caught, TaskGroup() as group:
        group.spawn(exec, "raise SystemExit(3)")
    assert not isinstance(caught.value, ExceptionGroup)
    assert isinstance(caught.value.exceptions[0], SystemExit)


def test_a_task_cancelled_by_hand_is_no_error() -> None:
    gate: Channel[object] = Channel()
    with TaskGroup() as group:
        task = group.spawn(wait_for, gate.receiver)
        task.cancel()
    assert task.cancelled()


def test_except_star_picks_errors_by_type() -> None:
    caught = []
    try:
        with TaskGroup() as group:
            group.spawn(fail, "x")
    except* ValueError as errors:
        caught = [str(error) for error in errors.exceptions]
    assert caught == ["x"]


@pytest.mark.parametrize("patience", [-1, float("nan")])
def test_a_patience_below_zero_is_a_value_error(patience: float) -> None:
    with pytest.raises(ValueError, match="patience"):
        TaskGroup(patience=patience)


def test_spawn_before_the_block_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="was not entered"):
        TaskGroup().spawn(abs, 1)


def test_spawn_after_the_block_is_a_runtime_error() -> None:
    with TaskGroup() as group:
        pass
    with pytest.raises(RuntimeError, match="has ended"):
        group.spawn(abs, 1)


def test_entering_twice_is_a_runtime_error() -> None:
    group = TaskGroup()
    with group, pytest.raises(RuntimeError, match="twice"), group:
        pass


def test_spawn_into_a_group_that_is_being_cancelled_is_refused() -> None:
    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        group.spawn(fail, "first").join(30)
        gate: Channel[object] = Channel()
        # Ends by the group's cancellation, or is refused if the group is already being cancelled.
        group.spawn(wait_for, gate.receiver).join(30)
        group.spawn(abs, 1)
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


def test_groups_nest_and_the_inner_error_comes_out_through_the_outer() -> None:
    gate: Channel[object] = Channel()
    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as outer:
        waiting = outer.spawn(wait_for, gate.receiver)
        with TaskGroup() as inner:
            inner.spawn(fail, "deep")
    assert isinstance(caught.value.exceptions[0], ExceptionGroup)
    assert waiting.cancelled()


def test_a_group_inside_a_task_works() -> None:
    def total(numbers: list[int]) -> int:
        with atoll.TaskGroup() as group:
            tasks = [group.spawn(pow, number, 2) for number in numbers]
        return sum(task.result() for task in tasks)

    assert atoll.run(total, [1, 2, 3]) == 14


def test_cancelling_a_task_with_a_group_cancels_the_members_and_waits_for_them() -> None:
    started: Channel[int] = Channel()
    over: Channel[str] = Channel(None)

    def member(started: atoll.Sender[int], over: atoll.Sender[str]) -> None:
        try:
            spin(started)
        finally:
            over.send_nowait("member")

    def parent(started: atoll.Sender[int], over: atoll.Sender[str], never: atoll.Receiver[int]) -> None:
        try:
            with atoll.TaskGroup() as group:
                group.spawn(member, started, over)
                never.recv()
        finally:
            over.send_nowait("parent")

    never: Channel[int] = Channel()
    task = atoll.spawn(parent, started.sender, over.sender, never.receiver)
    started.recv(timeout=30)
    deadline = time.monotonic() + 30
    while never.stats().blocked_receivers == 0:
        assert time.monotonic() < deadline
    task.cancel()
    task.join(30)
    assert [over.recv(timeout=30), over.recv(timeout=30)] == ["member", "parent"]
    assert task.cancelled()


def test_a_member_is_known_to_its_group_whenever_a_cancellation_strikes() -> None:
    over: Channel[str] = Channel(None)

    def member(started: atoll.Sender[int], over: atoll.Sender[str]) -> None:
        try:
            spin(started)
        finally:
            over.send_nowait("member")

    def parent(started: atoll.Sender[int], over: atoll.Sender[str]) -> None:
        with atoll.TaskGroup() as group:
            group.spawn(member, started, over)

    for _ in range(50):
        started: Channel[int] = Channel()
        task = atoll.spawn(parent, started.sender, over.sender)
        started.recv(timeout=30)
        task.cancel()  # the parent may still be on its way out of `spawn`
        assert over.recv(timeout=30) == "member"
        task.join(30)


def test_a_cancellation_between_the_end_of_the_body_and_the_way_out_waits_for_the_members() -> None:
    over: Channel[str] = Channel(None)

    def member(started: atoll.Sender[int], over: atoll.Sender[str]) -> None:
        try:
            spin(started)
        finally:
            over.send_nowait("member")

    def parent(started: atoll.Sender[int], over: atoll.Sender[str], go: atoll.Receiver[int]) -> None:
        lock = threading.Lock()
        lock.acquire()
        threading.Thread(target=lambda: (go.recv(), lock.release())).start()
        try:
            with atoll.TaskGroup() as group:
                group.spawn(member, started, over)
                over.send("waits")
                # Waits in C code, as the last step: after it Python looks for exceptions in `__exit__` first.
                [*map(lock.acquire, (True,))]
        finally:
            over.send_nowait("parent")

    started: Channel[int] = Channel()
    go: Channel[int] = Channel()
    task = atoll.spawn(parent, started.sender, over.sender, go.receiver)
    started.recv(timeout=30)
    assert over.recv(timeout=30) == "waits"
    task.cancel()
    go.send(1)
    task.join(30)
    assert [over.recv(timeout=30), over.recv(timeout=30)] == ["member", "parent"]
    assert task.cancelled()


def test_a_group_may_be_entered_by_an_exit_stack_and_left_by_hand() -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(TaskGroup()).spawn(pow, 2, 5)
    assert first.done()
    group = TaskGroup()
    second = group.__enter__().spawn(fail, "by hand")
    with pytest.raises(ExceptionGroup, match="1 error in a task group"):
        group.__exit__(None, None, None)
    assert second.done()


def test_threads_of_the_body_may_spawn() -> None:
    with TaskGroup() as group:
        tasks: list[atoll.Task[int]] = []
        threads = [threading.Thread(target=lambda: tasks.append(group.spawn(pow, 2, 5))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [task.result() for task in tasks] == [32] * 8


def test_the_remote_traceback_is_the_cause_of_a_member_error() -> None:
    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        group.spawn(fail, "x")
    assert isinstance(caught.value.exceptions[0].__cause__, atoll.RemoteTraceback)


def test_a_task_stuck_in_c_code_is_left_behind_after_the_patience(run_child: RunChild) -> None:
    code, out, _ = run_child(
        """
        import hashlib
        import atoll

        def stuck(started):
            started.send(1)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 3_000_000)

        started = atoll.Channel()
        try:
            with atoll.TaskGroup(patience=0.1) as group:
                group.spawn(stuck, started.sender)
                started.recv()
                raise ValueError("body")
        except* ValueError:
            pass
        except* atoll.AtollError as errors:
            print(errors.exceptions[0])
        """
    )
    assert code == 0
    assert "cannot stop task" in out
    assert "C code" in out


def test_a_group_that_is_dropped_without_leaving_cancels_its_tasks() -> None:
    # What is left when a KeyboardInterrupt strikes before the first instruction of `__exit__`.
    gate: Channel[object] = Channel()
    group = TaskGroup().__enter__()
    task = group.spawn(wait_for, gate.receiver)
    del group
    task.join(30)
    assert task.cancelled()


def test_task_cancelled_is_what_a_waiter_of_a_member_sees() -> None:
    seen: list[type[BaseException]] = []
    gate: Channel[object] = Channel()

    def watch(task: atoll.Task[object]) -> None:
        try:
            task.result(timeout=30)
        except TaskCancelled as error:
            seen.append(type(error))

    with pytest.raises(ExceptionGroup), TaskGroup() as group:
        waiting = group.spawn(wait_for, gate.receiver)
        thread = threading.Thread(target=watch, args=(waiting,))
        thread.start()
        group.spawn(fail, "x")
    thread.join()
    assert seen == [TaskCancelled]
