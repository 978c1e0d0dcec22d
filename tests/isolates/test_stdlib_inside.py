"""The standard library inside isolates: databases, TLS, compression, child processes, multiprocessing."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import atoll

pytestmark = pytest.mark.usefixtures("isolates_here")


def test_sqlite_in_memory_with_functions_written_in_python(isolate: atoll.Interpreter) -> None:
    def work() -> list[tuple[int, float]]:
        import sqlite3

        base = sqlite3.connect(":memory:")
        base.create_function("halve", 1, lambda value: value / 2)
        base.execute("create table tide (at integer primary key, height real)")
        base.executemany("insert into tide values (?, ?)", ((number, number * 0.5) for number in range(10_000)))
        rows = base.execute("select at % 3, sum(halve(height)) from tide group by 1 order by 1").fetchall()
        base.close()
        return rows

    assert isolate.call(work) == work()


def test_a_sqlite_file_with_a_lock_file_is_shared_by_main_and_isolates(
    isolates: list[atoll.Interpreter], tmp_path: Path
) -> None:
    """The default locks belong to the process, and each isolate has a SQLite of its own that believes it is alone."""
    import sqlite3

    def write(path: str, who: int) -> None:
        import sqlite3

        base = sqlite3.connect(path, timeout=60, uri=True)
        for number in range(50):
            with base:
                base.execute("insert into log values (?, ?)", (who, number))
        base.close()

    path = f"file:{tmp_path}/log.sqlite?vfs=unix-dotfile"
    base = sqlite3.connect(path, timeout=60, uri=True)
    base.execute("create table log (who, number)")
    base.commit()
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(host.call, write, path, who) for who, host in enumerate(isolates)]
        calls.append(pool.submit(write, path, 2))
        for call in calls:
            call.result(120)

    assert base.execute("select who, count(*), sum(number) from log group by who order by who").fetchall() == [
        (who, 50, 1225) for who in range(3)
    ]
    base.close()


def test_a_tls_connection_between_main_and_an_isolate(isolate: atoll.Interpreter) -> None:
    """A handshake with a shared key needs no certificate; the bytes travel through channels."""

    def speak(server: bool, incoming: atoll.Receiver[bytes], outgoing: atoll.Sender[bytes]) -> tuple[str, str]:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("PSK")
        if server:
            context.set_psk_server_callback(lambda identity: b"tidal key")
        else:
            context.set_psk_client_callback(lambda hint: ("isolate", b"tidal key"))
        arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = context.wrap_bio(arriving, leaving, server_side=server)

        def until_done(step):
            while True:
                try:
                    value = step()
                    if leaving.pending:
                        outgoing.send(leaving.read())
                    return value
                except ssl.SSLWantReadError:
                    if leaving.pending:
                        outgoing.send(leaving.read())
                    arriving.write(incoming.recv(timeout=60))

        until_done(connection.do_handshake)
        until_done(lambda: connection.write(b"low tide at noon" if server else b"when is low tide?"))
        heard = until_done(lambda: connection.read(100))
        return connection.version(), heard.decode()

    there, back = atoll.Channel[bytes](8), atoll.Channel[bytes](8)
    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(isolate.call, speak, False, back.receiver, there.sender)
        here = speak(True, there.receiver, back.sender)

        assert here == ("TLSv1.2", "when is low tide?")
        assert client.result(60) == ("TLSv1.2", "low tide at noon")


def test_hashes_compression_numbers_dates_and_markup(isolate: atoll.Interpreter) -> None:
    def work() -> list[object]:
        import bz2
        import datetime
        import decimal
        import hashlib
        import json
        import lzma
        import mmap
        import pickle
        import unicodedata
        import xml.etree.ElementTree as ET
        import zlib
        import zoneinfo
        from fractions import Fraction

        text = ("Föhr, Sylt, Amrum; " * 1000).encode()
        pages = mmap.mmap(-1, 8192)
        pages[:5] = b"atoll"
        berlin = datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
        return [
            hashlib.sha3_512(text).hexdigest(),
            hashlib.blake2b(text).hexdigest(),
            [module.decompress(module.compress(text)) == text for module in (bz2, lzma, zlib)],
            str(decimal.Decimal(2).sqrt(decimal.Context(prec=50))),
            berlin.isoformat(),
            pickle.loads(pickle.dumps({1: [Fraction(1, 3)]}))[1][0].denominator,
            unicodedata.normalize("NFD", "ö").encode(),
            [island.get("name") for island in ET.fromstring('<a><i name="x"/><i name="y"/></a>')],
            json.dumps({"ö": [1.5, None, True]}),
            bytes(pages[:5]),
        ]

    assert isolate.call(work) == work()


def test_an_http_server_in_an_isolate_answers_main(isolate: atoll.Interpreter) -> None:
    from urllib.request import urlopen

    def serve(ports: atoll.Sender[int]) -> None:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        class Tides(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(f"tide of {self.path}".encode())

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Tides) as server:
            ports.send(server.server_address[1])
            for _ in range(3):
                server.handle_request()

    ports = atoll.Channel[int](1)
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(isolate.call, serve, ports.sender)
        port = ports.recv(timeout=60)
        pages = [urlopen(f"http://127.0.0.1:{port}/{day}", timeout=60).read() for day in range(3)]
        serving.result(60)

    assert pages == [f"tide of /{day}".encode() for day in range(3)]


def test_subprocess_with_its_pipes_its_environment_and_a_function_before_exec(isolate: atoll.Interpreter) -> None:
    def work() -> list[object]:
        import os
        import subprocess
        import sys

        os.environ["ISLAND"] = "Sylt"  # of this isolate only, and its children
        child = "import os, sys; print(os.environ['ISLAND'], sys.stdin.read()); raise SystemExit(3)"
        done = subprocess.run([sys.executable, "-c", child], input="ahoy", capture_output=True, text=True, check=False)
        moved = subprocess.run(["pwd"], preexec_fn=lambda: os.chdir("/"), stdout=subprocess.PIPE, text=True, check=True)
        return [done.returncode, done.stdout, done.stderr, moved.stdout, os.system("exit 5") >> 8]

    assert isolate.call(work) == [3, "Sylt ahoy\n", "", "/\n", 5]
    assert "ISLAND" not in os.environ


def test_sys_executable_starts_the_same_python(isolate: atoll.Interpreter) -> None:
    def work() -> str:
        import subprocess
        import sys

        command = [sys.executable, "-c", "import sys; print(sys.executable, sys.prefix, sys.version)"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    command = [sys.executable, "-c", "import sys; print(sys.executable, sys.prefix, sys.version)"]
    assert isolate.call(work) == subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_os_fork_in_an_isolate_gives_a_child_that_runs_python_and_threads(isolate: atoll.Interpreter) -> None:
    def work() -> list[int]:
        import os
        import threading
        import warnings

        warnings.simplefilter("ignore", DeprecationWarning)
        codes = []
        for turn in range(5):
            child = os.fork()
            if child == 0:
                threads = [threading.Thread(target=sorted, args=(range(1000),)) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                os._exit(10 + turn)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return codes

    assert isolate.call(work) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works_inside_an_isolate(isolate: atoll.Interpreter, method: str) -> None:
    def work(method: str) -> list[int]:
        import math
        import multiprocessing
        import warnings

        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(method).Pool(2) as pool:
            return pool.map(math.factorial, range(10))

    assert isolate.call(work, method) == [1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880]


def test_a_process_pool_of_an_isolate_passes_exceptions_on(isolate: atoll.Interpreter) -> None:
    def work() -> str:
        import concurrent.futures
        import math
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            try:
                pool.submit(math.sqrt, -1).result()
            except ValueError as error:
                return type(error).__name__
        return "no error"

    assert isolate.call(work) == "ValueError"


def test_an_isolate_has_a_time_zone_and_a_locale_of_its_own(isolate: atoll.Interpreter) -> None:
    import locale
    import time

    before = time.tzname, locale.setlocale(locale.LC_ALL)

    def work() -> tuple[str, str]:
        import locale
        import os
        import time

        os.environ["TZ"] = "UTC-9"
        time.tzset()
        locale.setlocale(locale.LC_ALL, "C")
        return time.strftime("%z", time.localtime(0)), locale.setlocale(locale.LC_ALL)

    assert isolate.call(work) == ("+0900", "C")
    assert (time.tzname, locale.setlocale(locale.LC_ALL)) == before
