"""Signals other than Ctrl-C, handlers that return, and programs with a wake-up descriptor of their own."""

from __future__ import annotations


def test_a_handler_that_returns_lets_the_wait_go_on_with_the_same_deadline(run_child) -> None:
    code, _, err = run_child(
        """
        import os, signal, threading, time
        import atoll

        handled = 0
        def handler(*_):
            global handled
            handled += 1
        signal.signal(signal.SIGUSR1, handler)

        stop = threading.Event()
        def flood():
            while not stop.wait(0.01):
                os.kill(os.getpid(), signal.SIGUSR1)
        flooding = threading.Thread(target=flood)
        flooding.start()

        before = time.monotonic()
        try:
            atoll.Channel().recv(timeout=1.0)
        except TimeoutError:
            elapsed = time.monotonic() - before
        stop.set()
        flooding.join()
        assert handled >= 5, handled  # a hundred on an idle machine
        assert 1.0 <= elapsed < 2.0, elapsed
        """
    )
    assert code == 0, err


def test_no_signal_is_lost_at_any_moment_of_a_wait(run_child) -> None:
    code, out, err = run_child(
        """
        import os, random, signal, threading
        import atoll

        handled = atoll.Channel(capacity=None)
        signal.signal(signal.SIGUSR1, lambda *_: handled.send_nowait(1))
        work = atoll.Channel(capacity=1)
        full = atoll.Channel(capacity=1)
        full.send(0)

        def flood():
            for number in range(1500):
                for _ in range(random.randrange(300)):
                    pass
                if number % 3 == 0:
                    work.send(number)
                os.kill(os.getpid(), signal.SIGUSR1)
                handled.recv(timeout=10)    # each signal is handled before the next one comes
            work.close()

        flooding = threading.Thread(target=flood)
        flooding.start()
        for number in work:
            try:
                atoll.select(full.sending(1), atoll.after(random.random() / 10000), timeout=random.random() / 10000)
            except TimeoutError:
                pass
        flooding.join()
        print("all handled")
        """
    )
    assert code == 0, err
    assert out.strip() == "all handled"


def test_an_exception_from_a_handler_ends_the_wait_and_loses_nothing(run_child) -> None:
    code, _, err = run_child(
        """
        import signal
        import atoll

        class Alarm(Exception):
            pass
        def handler(*_):
            raise Alarm
        signal.signal(signal.SIGALRM, handler)
        channel = atoll.Channel()
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        try:
            channel.recv()
        except Alarm:
            channel.send(1)
        assert channel.recv() == 1
        """
    )
    assert code == 0, err


def test_a_handler_may_use_channels_itself(run_child) -> None:
    code, _, err = run_child(
        """
        import signal, threading
        import atoll

        outer, inner = atoll.Channel(), atoll.Channel(capacity=0)
        def handler(*_):
            outer.send(inner.recv() + 1)
        signal.signal(signal.SIGALRM, handler)
        helping = threading.Thread(target=lambda: inner.send(41))
        helping.start()
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert outer.recv() == 42
        helping.join()
        """
    )
    assert code == 0, err


def test_the_programs_wake_up_descriptor_is_restored_and_hears_every_signal(run_child) -> None:
    code, _, err = run_child(
        """
        import os, signal, socket, threading
        import atoll

        read, write = socket.socketpair()
        read.setblocking(False)
        write.setblocking(False)
        signal.set_wakeup_fd(write.fileno())
        channel = atoll.Channel()
        seen_in_handler = []

        def handler(*_):
            seen_in_handler.append(signal.set_wakeup_fd(write.fileno()))
            channel.send("signal")
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert channel.recv() == "signal"
        assert seen_in_handler == [write.fileno()]
        assert read.recv(10) == bytes([signal.SIGALRM])
        assert signal.set_wakeup_fd(-1) == write.fileno()
        """
    )
    assert code == 0, err


def test_a_wake_up_descriptor_set_by_a_handler_stays(run_child) -> None:
    code, _, err = run_child(
        """
        import signal, socket
        import atoll

        read, write = socket.socketpair()
        write.setblocking(False)
        channel = atoll.Channel()

        def handler(*_):
            signal.set_wakeup_fd(write.fileno())
            channel.send(1)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        channel.recv()
        assert signal.set_wakeup_fd(-1) == write.fileno()
        """
    )
    assert code == 0, err


def test_asyncio_handles_signals_around_blocking_verbs(run_child) -> None:
    code, _, err = run_child(
        """
        import asyncio, os, signal, threading
        import atoll

        async def main():
            loop = asyncio.get_running_loop()
            heard = asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR1, heard.set)
            channel = atoll.Channel(capacity=0)

            def help_out():
                while not channel.stats().blocked_receivers:
                    pass
                os.kill(os.getpid(), signal.SIGUSR1)
                channel.send("done")
            helping = threading.Thread(target=help_out)
            helping.start()
            assert channel.recv() == "done"       # blocks the loop on purpose
            await asyncio.wait_for(heard.wait(), 10)
            heard.clear()
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.wait_for(heard.wait(), 10)
            helping.join()
        asyncio.run(main())
        """
    )
    assert code == 0, err


def test_a_forked_child_has_a_bell_of_its_own(run_child) -> None:
    code, _, err = run_child(
        """
        import os, signal, warnings
        import atoll

        warnings.simplefilter("ignore", DeprecationWarning)
        channel = atoll.Channel()
        try:
            channel.recv(timeout=0.01)            # the parent's bell exists
        except TimeoutError:
            pass
        child = os.fork()
        if child == 0:
            code = 1
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            def handler(*_):
                raise InterruptedError
            signal.signal(signal.SIGALRM, handler)
            try:
                atoll.Channel().recv(timeout=20)
            except InterruptedError:
                code = 0
            os._exit(code)
        # The child's signal must not be heard here.
        try:
            channel.recv(timeout=0.2)
        except TimeoutError:
            pass
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        """
    )
    assert code == 0, err
