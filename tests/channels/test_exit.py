"""The interpreter ends while threads are inside channel verbs: at once, and without a crash."""

from __future__ import annotations

import pytest

BLOCKED = """
    import threading
    import atoll

    empty, full, rendezvous = atoll.Channel(), atoll.Channel(capacity=1), atoll.Channel(capacity=0)
    full.send(0)
    verbs = [
        empty.recv,
        lambda: empty.recv_many(3),
        lambda: list(empty),
        lambda: full.send(1),
        lambda: full.send_many(range(3)),
        lambda: rendezvous.send(1),
        lambda: atoll.select(empty, full.sending(1)),
        lambda: atoll.select(atoll.after(1000)),
        lambda: empty.recv(timeout=1000),
    ]
    for verb in verbs:
        threading.Thread(target=verb, daemon=True).start()
    waiting = threading.Event()
    while empty.stats().blocked_receivers < 5 or full.stats().blocked_senders < 3:
        waiting.wait(0.001)
"""

BUSY = """
    import threading
    import atoll

    channel = atoll.Channel(capacity=2)
    started = threading.Barrier(7)

    def send():
        started.wait()
        while True:
            channel.send(["some", "text", 1.5])

    def receive():
        started.wait()
        while True:
            try:
                channel.recv(timeout=0.0005)
            except TimeoutError:
                pass

    def choose():
        started.wait()
        while True:
            atoll.select(channel, channel.sending(2), timeout=1)

    for work in (send, receive, choose) * 2:
        threading.Thread(target=work, daemon=True).start()
    started.wait()
    for _ in range(100):
        channel.recv()
"""


def test_daemon_threads_blocked_in_every_verb_do_not_keep_the_process(run_child) -> None:
    code, _, err = run_child(BLOCKED)
    assert (code, err) == (0, "")


@pytest.mark.parametrize("attempt", range(5))
def test_daemon_threads_busy_with_channels_do_not_crash_the_exit(attempt: int, run_child) -> None:
    code, _, err = run_child(BUSY)
    assert (code, err) == (0, "")


def test_an_exit_in_an_error_keeps_its_code(run_child) -> None:
    code, _, _ = run_child(BLOCKED + "\n    raise SystemExit(3)\n")
    assert code == 3


def test_channels_still_work_in_finalizers_of_the_ending_interpreter(run_child) -> None:
    code, out, err = run_child(
        """
        import atoll

        class Last:
            def __init__(self):
                self.channel = atoll.Channel()
            def __del__(self):
                self.channel.send([1])
                print(self.channel.recv(), self.channel.recv_many(1, timeout=0.01) if len(self.channel) else "")
                try:
                    self.channel.recv(timeout=0.01)
                except TimeoutError:
                    print("in time")
        keep = Last()
        """
    )
    assert code == 0, err
    assert out.split("\n")[:2] == ["[1] ", "in time"]


def test_an_interpreter_that_atoll_did_not_make_can_use_channels_of_its_own(run_child) -> None:
    code, out, err = run_child(
        """
        import _interpreters
        for _ in range(20):
            interpreter = _interpreters.create()
            failure = _interpreters.exec(interpreter, '''if True:
                import atoll
                channel = atoll.Channel(capacity=2)
                channel.send({"a": [1]})
                assert channel.recv() == {"a": [1]}
                try:
                    channel.recv(timeout=0.001)
                except TimeoutError:
                    channel.poison("over")
                try:
                    channel.recv()
                except atoll.ChannelPoisoned as poisoned:
                    assert poisoned.reason == "over"
                left_behind = [channel, channel.sender]
            ''')
            assert failure is None, failure
            _interpreters.destroy(interpreter)
        print("fine")
        """
    )
    assert code == 0, err
    assert out.strip() == "fine"
