"""asyncio inside isolates: servers, child processes, threads, and whose signals are whose."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import atoll

pytestmark = pytest.mark.usefixtures("isolates_here")


def serve_and_ask(clients: int) -> list[str]:
    """A server and its clients in one loop."""
    import asyncio

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def ask(port: int, number: int) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"island {number}\n".encode())
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line.decode().strip()

    async def main() -> list[str]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.gather(*[ask(port, number) for number in range(clients)])

    return asyncio.run(main())


def test_a_server_and_its_clients_in_one_isolate(isolate: atoll.Interpreter) -> None:
    assert isolate.call(serve_and_ask, 20) == [f"ISLAND {number}" for number in range(20)]


def test_loops_run_in_two_isolates_and_in_main_at_once(isolates: list[atoll.Interpreter]) -> None:
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(host.call, serve_and_ask, 10) for host in isolates]
        here = serve_and_ask(10)

    assert [call.result() for call in calls] == [here, here]


def test_a_server_in_one_isolate_answers_a_client_in_another(isolates: list[atoll.Interpreter]) -> None:
    def serve(ports: atoll.Sender[int]) -> str:
        import asyncio

        async def main() -> str:
            heard = asyncio.get_running_loop().create_future()

            async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                heard.set_result((await reader.readline()).decode())
                writer.close()

            server = await asyncio.start_server(hear, "127.0.0.1", 0)
            async with server:
                await asyncio.to_thread(ports.send, server.sockets[0].getsockname()[1])
                return str(await asyncio.wait_for(heard, 30))

        return asyncio.run(main())

    def call(ports: atoll.Receiver[int]) -> None:
        import asyncio

        async def main() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", await asyncio.to_thread(ports.recv))
            writer.write(b"ahoy\n")
            await writer.drain()
            writer.close()

        asyncio.run(main())

    ports = atoll.Channel[int](1)
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(isolates[0].call, serve, ports.sender)
        isolates[1].call(call, ports.receiver)

        assert heard.result(60) == "ahoy\n"


def test_child_processes_of_a_loop_in_an_isolate(isolate: atoll.Interpreter) -> None:
    def work() -> list[tuple[int, bytes]]:
        import asyncio
        import sys

        async def child(number: int) -> tuple[int, bytes]:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", f"print({number} * 2); raise SystemExit({number})", stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            return process.returncode or 0, out

        async def main() -> list[tuple[int, bytes]]:
            return await asyncio.gather(*[child(number) for number in range(4)])

        return asyncio.run(main())

    assert isolate.call(work) == [(number, f"{number * 2}\n".encode()) for number in range(4)]


def test_a_child_process_of_an_isolate_ends_by_terminate(isolate: atoll.Interpreter) -> None:
    def work() -> int | None:
        import asyncio
        import sys

        async def main() -> int | None:
            source = "import sys, time; print('up', flush=True); time.sleep(1000)"
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", source, stdout=asyncio.subprocess.PIPE)
            assert process.stdout is not None
            await process.stdout.readline()
            process.terminate()
            await process.wait()
            return process.returncode

        return asyncio.run(main())

    assert isolate.call(work) == -signal.SIGTERM


def test_to_thread_timeouts_and_task_groups_in_an_isolate(isolate: atoll.Interpreter) -> None:
    def work() -> tuple[int, str, list[str]]:
        import asyncio

        async def main() -> tuple[int, str, list[str]]:
            total = sum(await asyncio.gather(*[asyncio.to_thread(sum, range(number)) for number in range(50)]))
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
                ended = "not by its timeout"
            except TimeoutError:
                ended = "by its timeout"

            async def fail() -> None:
                raise LookupError("no such island")

            problems: list[str] = []
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
                    group.create_task(asyncio.Event().wait())
            except* LookupError as errors:
                problems += [str(error) for error in errors.exceptions]
            return total, ended, problems

        return asyncio.run(main())

    expected = sum(sum(range(number)) for number in range(50))
    assert isolate.call(work) == (expected, "by its timeout", ["no such island"])


def test_asyncio_run_in_an_isolate_leaves_the_signal_handlers_of_main_alone(isolate: atoll.Interpreter) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    isolate.call(serve_and_ask, 1)

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    interrupted = threading.Event()
    old = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        signal.raise_signal(signal.SIGINT)
        assert interrupted.wait(10), "SIGINT still reaches main"
    finally:
        signal.signal(signal.SIGINT, old)


def test_a_loop_in_an_isolate_that_waits_is_cancelled_from_main(isolates_here: None) -> None:
    def work(started: atoll.Sender[int]) -> None:
        import asyncio

        async def main() -> None:
            await asyncio.to_thread(started.send, 1)
            await asyncio.Event().wait()

        asyncio.run(main())

    started = atoll.Channel[int](1)
    task = atoll.spawn(work, started.sender, kind="isolate")
    started.recv(timeout=60)

    task.cancel()
    task.join(30)

    assert task.cancelled()
