"""`breakpoint()` in a task reaches the terminal that the program was started from, one debugger at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.debugging.conftest import CTRL_C, CTRL_D, Terminal

type Start = Callable[..., Terminal]


def test_a_task_is_looked_at_and_changed_from_the_terminal(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def work(number):
            doubled = 2 * number
            breakpoint()
            return doubled

        if __name__ == "__main__":
            print("result:", atoll.run(work, 4, kind={kind!r}))
    """)
    before = terminal.prompt(f"{kind}-2 task-1")
    assert "-> " in before
    assert "work(" in before

    terminal.enter("p doubled, number")
    assert "(8, 4)" in terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("doubled = 15")
    terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("where")
    shown = terminal.prompt(f"{kind}-2 task-1")
    assert "work(" in shown
    assert "_agent" not in shown
    terminal.enter("c")
    terminal.until("result: 15")
    assert terminal.end() == 0


def test_steps_end_with_the_task_and_the_thread_goes_on_to_the_next_one(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def add(a, b):
            return a + b

        def work():
            breakpoint()
            total = add(1, 2)
            return total

        if __name__ == "__main__":
            with atoll.Interpreter({kind!r}) as host:
                print("result:", host.call(work))
                print("next:", host.call(add, 20, 1))
    """)
    terminal.prompt(f"{kind}-2 task-1")
    seen = ""
    for command in ("n", "s", "s", "r", "n", "n"):
        terminal.enter(command)
        seen += terminal.prompt(f"{kind}-2 task-1")
    assert "--Call--" in seen
    assert "return a + b" in seen
    assert "->3" in seen
    terminal.enter("n")  # beyond the task's last line
    terminal.until("result: 3")
    terminal.until("next: 21")
    assert terminal.end() == 0


def test_the_second_of_two_tasks_waits_for_the_first_and_others_go_on(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def stop(stopping):
            stopping.send(1)
            breakpoint()

        def count(told):
            for number in range(3):
                told.send(number)

        if __name__ == "__main__":
            import threading
            stopping, told = atoll.Channel(), atoll.Channel(1)
            one = atoll.Interpreter({kind!r}, name="one")
            two = atoll.Interpreter({kind!r}, name="two")
            with one, two:
                threads = [threading.Thread(target=host.call, args=(stop, stopping.sender)) for host in (one, two)]
                for thread in threads:
                    thread.start()
                    stopping.recv()
                counting = atoll.spawn(count, told.sender, kind={kind!r})
                print("counted", [told.recv(), told.recv(), told.recv()])
                for thread in threads:
                    thread.join()
            print("done")
    """)
    terminal.until("(Pdb ")
    first = terminal.until(") ")
    terminal.shows("counted [0, 1, 2]\n")
    assert terminal.is_silent()
    terminal.enter("p 6 * 7")
    terminal.until("42")
    terminal.prompt(first)
    terminal.enter("c")
    terminal.until("(Pdb ")
    second = terminal.until(") ")
    assert {first, second} == {"one task-1", "two task-2"}
    terminal.enter("c")
    terminal.until("done")
    assert terminal.end() == 0


def test_quit_and_the_end_of_the_input_end_the_task_with_bdb_quit(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll, bdb

        def work():
            breakpoint()
            return "not stopped"

        if __name__ == "__main__":
            for _ in range(2):
                try:
                    print(atoll.run(work, kind={kind!r}))
                except bdb.BdbQuit as error:
                    print("quit:", type(error.__cause__).__name__)
            print("and on:", atoll.run(len, "abc", kind={kind!r}))
    """)
    terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("q")
    terminal.until("quit: RemoteTraceback")
    terminal.until("task-2) ")
    terminal.type(CTRL_D)
    terminal.until("quit: RemoteTraceback")
    terminal.until("and on: 3")
    assert terminal.end() == 0


def test_ctrl_c_at_the_prompt_is_the_debuggers_and_afterwards_the_programs_again(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def work():
            breakpoint()
            return "survived"

        if __name__ == "__main__":
            never = atoll.Channel()  # later its import might swallow a Ctrl-C, as any may
            try:
                print(atoll.run(work, kind={kind!r}))
                never.recv()
            except KeyboardInterrupt:
                print("interrupted at last")
    """)
    terminal.prompt(f"{kind}-2 task-1")
    terminal.type("p 'half a li")
    terminal.until("half a li")
    for _ in range(2):
        terminal.type(CTRL_C)
        terminal.until("--KeyboardInterrupt--")
        terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("p 'whole'")
    terminal.until("'whole'\n'whole'")
    terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("c")
    terminal.until("survived")
    terminal.type(CTRL_C)
    terminal.until("interrupted at last")
    assert terminal.end() == 0


def test_ctrl_c_ends_a_command_that_goes_on_for_ever_when_pressed_twice(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def work():
            breakpoint()

        if __name__ == "__main__":
            try:
                atoll.run(work, kind={kind!r})
            except KeyboardInterrupt:
                print("the program is interrupted")
    """)
    terminal.prompt(f"{kind}-2 task-1")
    terminal.enter(r"!exec('print(6 * 7)\nwhile True: pass')")
    terminal.until("\n42\n")
    terminal.type(CTRL_C)
    terminal.until("^C")
    assert terminal.is_silent()
    terminal.type(CTRL_C)
    terminal.until("the program is interrupted")
    assert terminal.end() == 0


WAITS = {
    "result": "print('got', atoll.spawn(work, kind=KIND).result())",
    "recv": "c = atoll.Channel(); t = atoll.spawn(send, c.sender, kind=KIND); print('got', c.recv())",
    "iteration": "c = atoll.Channel(); t = atoll.spawn(send, c.sender, kind=KIND); print('got', next(iter(c)))",
    "select": "c = atoll.Channel(); t = atoll.spawn(send, c.sender, kind=KIND); print('got', atoll.select(c)[1])",
    "map": "print('got', *atoll.map(one, [0], kind=KIND))",
    "pool": "p = atoll.Pool(1, kind=KIND); print('got', p.submit(work).result()); p.shutdown()",
    "group": "g = atoll.TaskGroup()\nwith g: t = g.spawn(work, kind=KIND)\nprint('got', t.result())",
    "asyncio": "import asyncio\nasync def wait(): return await atoll.spawn(work, kind=KIND)\n"
    "print('got', asyncio.run(wait()))",
    "thread": "import threading\nt = threading.Thread(target=lambda: print('got', atoll.run(work, kind=KIND)))\n"
    "t.start(); t.join()",
}


@pytest.mark.parametrize("wait", WAITS)
def test_it_does_not_matter_what_the_main_thread_waits_in(at_terminal: Start, kind: str, wait: str) -> None:
    terminal = at_terminal(
        f"import atoll\nKIND = {kind!r}\n"
        "def work():\n    x = 41\n    breakpoint()\n    return x\n"
        "def one(_): return work()\n"
        "def send(to): to.send(work())\n"
        'if __name__ == "__main__":\n' + "".join(f"    {line}\n" for line in WAITS[wait].splitlines())
    )
    terminal.until("(Pdb ")
    terminal.type(CTRL_C)
    terminal.until("--KeyboardInterrupt--")
    terminal.until("(Pdb ")
    terminal.enter("x += 1")
    terminal.until("(Pdb ")
    terminal.enter("c")
    terminal.until("got 42")
    assert terminal.end() == 0


def test_a_thread_and_a_coroutine_of_a_host_say_who_they_are(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def in_thread():
            breakpoint()

        def start():
            import threading
            thread = threading.Thread(target=in_thread, name="helper")
            thread.start()
            thread.join()

        async def double(number):
            import asyncio
            breakpoint()
            await asyncio.sleep(0.01)
            return 2 * number

        if __name__ == "__main__":
            atoll.run(start, kind={kind!r})
            task = atoll.spawn(double, 21, kind={kind!r}, name="doubling")
            print("result:", task.result())
    """)
    terminal.prompt(f"{kind}-2 helper")
    terminal.enter("c")
    terminal.prompt(f"{kind}-2 doubling")
    for _ in range(2):  # over the await
        terminal.enter("n")
        shown = terminal.prompt(f"{kind}-2 doubling")
    assert "return 2 * number" in shown
    terminal.enter("c")
    terminal.until("result: 42")
    assert terminal.end() == 0


def test_breakpoints_set_at_the_prompt_hold_for_the_rest_of_the_task(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def work():
            breakpoint()
            total = 0
            for number in range(3):
                total += number
            return total

        if __name__ == "__main__":
            with atoll.Interpreter({kind!r}) as host:
                print("result:", host.call(work))
                print("next:", host.call(sum, [1, 2]))
    """)
    terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("b 8")
    terminal.until("Breakpoint 1 at")
    terminal.prompt(f"{kind}-2 task-1")
    for number in range(3):
        terminal.enter("c")
        terminal.prompt(f"{kind}-2 task-1")
        terminal.enter("p number")
        terminal.until(f"\n{number}\n")
        terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("c")
    terminal.until("result: 3")
    terminal.until("next: 3")
    assert terminal.end() == 0


def test_a_task_whose_step_waits_for_a_breakpoint_of_another_gives_up_its_turn(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def inner(start, done):
            start.recv()
            breakpoint()
            done.send(7)

        def outer(start, done):
            breakpoint()
            start.send(1)
            got = done.recv()
            return got

        if __name__ == "__main__":
            start, done = atoll.Channel(), atoll.Channel()
            a = atoll.spawn(inner, start, done, kind={kind!r}, name="inner")
            b = atoll.spawn(outer, start, done, kind={kind!r}, name="outer")
            print("result:", b.result())
            a.join()
    """)
    terminal.until(" outer) ")
    for _ in range(2):
        terminal.enter("n")
        terminal.until(" outer) ")
    terminal.enter("n")
    terminal.until(" inner) ")
    terminal.enter("c")
    terminal.until(" outer) ")
    terminal.enter("p got")
    terminal.until("\n7\n")
    terminal.until(" outer) ")
    terminal.enter("c")
    terminal.until("result: 7")
    assert terminal.end() == 0


def test_a_task_that_is_cancelled_leaves_the_prompt(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def work():
            breakpoint()

        if __name__ == "__main__":
            cancelled = atoll.spawn(work, kind={kind!r}, name="cancelled")
            cancelled.join(1.0)
            waiting = atoll.spawn(work, kind={kind!r}, name="waiting")
            waiting.join(0.5)
            cancelled.cancel()
            cancelled.join()
            waiting.result()
            print("cancelled:", cancelled.cancelled())
    """)
    terminal.until(" cancelled) ")
    terminal.until(" waiting) ")
    terminal.enter("c")
    terminal.until("cancelled: True")
    assert terminal.end() == 0


def test_the_program_may_end_while_somebody_is_at_the_prompt(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll, sys

        def work(stopping):
            stopping.send(1)
            breakpoint()

        if __name__ == "__main__":
            stopping = atoll.Channel()
            task = atoll.spawn(work, stopping, kind={kind!r})
            stopping.recv()
            task.join(1.0)
            sys.exit(3)
    """)
    terminal.prompt(f"{kind}-2 task-1")
    assert terminal.end() == 3


def test_the_main_threads_own_breakpoint_waits_its_turn(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def work(stopping):
            stopping.send(1)
            breakpoint()

        if __name__ == "__main__":
            stopping = atoll.Channel()
            task = atoll.spawn(work, stopping, kind={kind!r})
            stopping.recv()
            task.join(1.0)
            mine = "main's own"
            breakpoint()
            task.result()
            print("done")
    """)
    terminal.prompt(f"{kind}-2 task-1")
    assert terminal.is_silent(1.0)
    terminal.enter("c")
    terminal.until("(Pdb) ")
    terminal.enter("p mine")
    terminal.until("main's own")
    terminal.until("(Pdb) ")
    terminal.enter("c")
    terminal.until("done")
    assert terminal.end() == 0


def test_a_header_and_what_reads_at_the_prompt_work(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll, contextlib, io

        def work():
            value = 5
            with contextlib.redirect_stdout(io.StringIO()):
                breakpoint(header="look here")
            return value

        if __name__ == "__main__":
            print("result:", atoll.run(work, kind={kind!r}))
    """)
    terminal.until("look here")
    terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("value = input()")
    terminal.enter("typed")
    terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("c")
    terminal.until("result: typed")
    assert terminal.end() == 0


def test_what_the_task_held_is_let_go_when_it_ends(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def work(sender):
            import gc
            gc.disable()
            breakpoint()
            sender.send(1)

        def inner(sender):
            here = sender
            return work(here)

        if __name__ == "__main__":
            with atoll.Interpreter({kind!r}) as host:
                for _ in range(3):
                    channel = atoll.Channel(1)
                    sender, receiver = channel.sender, channel.receiver
                    del channel
                    try:
                        host.call(inner, sender)
                    except Exception as error:
                        print("ended by", type(error).__name__)
                    del sender
                    print("received", list(receiver))
    """)
    for commands, received in ((["c"], "[1]"), (["b 8", "c", "c"], "[1]"), (["q"], "[]")):
        for command in commands:
            terminal.until("(Pdb ")
            terminal.until(") ")
            terminal.enter(command)
        terminal.until(f"received {received}")
    assert terminal.end() == 0


def test_breakpoints_end_with_the_interpreter_in_which_they_were_set(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def work():
            breakpoint()
            here = 1
            return here

        if __name__ == "__main__":
            for _ in range(2):
                with atoll.Interpreter({kind!r}) as host:  # an isolate is used again
                    print("result:", host.call(work))
    """)
    for commands in (["b 7", "c", "c"], ["c"]):
        for command in commands:
            terminal.until("(Pdb ")
            terminal.until(") ")
            terminal.enter(command)
        terminal.until("result: 1")
    assert terminal.end() == 0


def test_return_goes_to_the_end_of_a_coroutine(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        async def inner():
            import asyncio
            breakpoint()
            await asyncio.sleep(0.01)
            return 42

        async def work():
            value = await inner()
            return value

        if __name__ == "__main__":
            print("result:", atoll.run(work, kind={kind!r}))
    """)
    terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("r")
    shown = terminal.prompt(f"{kind}-2 task-1")
    assert "work()" in shown
    terminal.enter("n")
    assert "return value" in terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("r")
    terminal.until("result: 42")
    assert terminal.end() == 0


def test_a_breakpoint_that_a_command_comes_to_is_passed_over(at_terminal: Start, kind: str) -> None:
    terminal = at_terminal(f"""
        import atoll

        def helper():
            breakpoint()
            return 6

        def work():
            mine = helper  # what a function does not use does not travel with it
            breakpoint()
            return 7

        if __name__ == "__main__":
            print("result:", atoll.run(work, kind={kind!r}))
    """)
    terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("p helper() * 2, 'readline' in __import__('sys').modules and __import__('sys').modules['readline']")
    terminal.until("(12, None)")
    terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("n")
    assert "return 7" in terminal.prompt(f"{kind}-2 task-1")
    terminal.enter("c")
    terminal.until("result: 7")
    assert terminal.end() == 0


def test_a_thread_of_the_main_interpreter_has_ctrl_c_at_its_prompt_as_well(at_terminal: Start) -> None:
    terminal = at_terminal("""
        import atoll, threading
        atoll.spawn

        def work():
            breakpoint()
            print("and on")

        if __name__ == "__main__":
            thread = threading.Thread(target=work, name="beside")
            thread.start()
            thread.join()
    """)
    terminal.prompt("main beside")
    terminal.type(CTRL_C)
    terminal.until("--KeyboardInterrupt--")
    terminal.prompt("main beside")
    terminal.enter("c")
    terminal.until("and on")
    assert terminal.end() == 0
