"""Extension types share their payload: one memory for every interpreter, and its end comes once.

The types are those of examples/extension-type, built here: one in C, one in Rust.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kinds import KINDS, skip_unless_available

import atoll

EXAMPLES = Path(__file__).parents[2] / "examples" / "extension-type"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

type RunChild = Callable[[str], tuple[int, str, str]]

MAKE = {
    "vectors": "vectors.Vector(array.array('d', range(1000)))",
    "ropes": "ropes.Rope('one for all')",
}


def build_vectors(folder: Path) -> None:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no C compiler here: {compiler[0]}")
    includes = [f"-I{sysconfig.get_path('include')}", f"-I{atoll.get_include()}"]
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("no headers of Python here")
    target = str(folder / f"vectors{SUFFIX}")
    warnings = ["-Wall", "-Wextra", "-Werror"]
    source = str(EXAMPLES / "c" / "vectors.c")
    subprocess.run([*compiler, *warnings, "-shared", "-fPIC", "-O2", *includes, source, "-o", target], check=True)


def build_ropes(folder: Path) -> None:
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("no cargo here")
    root = os.environ.get("CARGO_TARGET_DIR") or str(EXAMPLES.parents[1] / "target")
    built = Path(root) / "extension-type" / f"{sys.version_info.major}.{sys.version_info.minor}{sys.abiflags}"
    environment = {**os.environ, "PYO3_PYTHON": sys.executable, "CARGO_TARGET_DIR": str(built)}
    done = subprocess.run(
        [cargo, "build", "--release", "--quiet", "--locked", "--manifest-path", str(EXAMPLES / "rust" / "Cargo.toml")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if "failed to download" in done.stderr or "Could not resolve host" in done.stderr:
        pytest.skip("the crates of the example cannot be downloaded")
    assert done.returncode == 0, done.stderr
    shutil.copy(built / "release" / "libropes.so", folder / f"ropes{SUFFIX}")


@pytest.fixture(scope="module", params=["vectors", "ropes"])
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An extension module with `live()` and a type that shares its payload; children can import it."""
    folder = tmp_path_factory.mktemp(request.param)
    {"vectors": build_vectors, "ropes": build_ropes}[request.param](folder)
    sys.path.insert(0, str(folder))
    yield request.param
    sys.path.remove(str(folder))


@pytest.fixture
def play(module: str, run_child: RunChild) -> Callable[..., str]:
    """Run a script in a child, with `make()`, `live()`, `wait_until_live()` and `content()` of the module."""

    def run(script: str, **values: Any) -> str:
        source = (
            f"import array, gc, os, sys, threading, time, atoll, {module}\n"
            f"def make(): return {MAKE[module]}\n"
            f"def live():\n    import {module}\n    return {module}.live()\n"
            "def content(value): return bytes(memoryview(value)) if hasattr(value, '__len__') else str(value)\n"
            "def wait_until_live(count):\n"
            "    until = time.monotonic() + 20\n"
            "    while live() != count and time.monotonic() < until:\n"
            "        gc.collect()\n"
            "        threading.Event().wait(0.005)\n"
            "    assert live() == count, (live(), count)\n"
            + "".join(f"{name} = {value!r}\n" for name, value in values.items())
        )
        code, out, err = run_child(source + _dedented(script))
        assert code == 0, err
        assert "Traceback" not in err, err
        return out

    return run


def _dedented(script: str) -> str:
    import textwrap

    return textwrap.dedent(script)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    skip_unless_available(request.param)
    name: str = request.param
    return name


def test_a_clone_shares_the_payload_and_is_another_object(play: Callable[..., str]) -> None:
    play(
        """
        value = make()
        first, second = atoll.clone([value, value])
        assert first is second and first is not value
        assert type(first) is type(value)
        assert content(first) == content(value)
        assert live() == 1
        del value
        assert content(first) and live() == 1
        del first, second
        assert live() == 0
        assert str(atoll.explain(make())).partition(", ")[2].startswith("shared, ")
        """
    )


def test_it_goes_to_another_interpreter_and_back_without_a_copy(play: Callable[..., str], kind: str) -> None:
    play(
        """
        def look(value):
            before = live()
            return value, content(value), type(value).__name__, live() - before

        if __name__ == "__main__":
            value = make()
            with atoll.Interpreter(kind) as host:
                back, seen, name, made = host.call(look, value)
                assert (seen, name, made) == (content(value), type(value).__name__, 0)
                assert content(back) == content(value)
                assert live() == 1
                for _ in range(300):
                    host.call(content, value)
            del value
            assert content(back) == seen
            del back
            wait_until_live(0)
        """,
        kind=kind,
    )


def test_what_another_interpreter_made_outlives_it(play: Callable[..., str], kind: str) -> None:
    play(
        """
        if __name__ == "__main__":
            with atoll.Interpreter(kind) as host:
                value = host.call(make)
            seen = content(value)
            with atoll.Interpreter(kind) as host:
                assert host.call(content, value) == seen == content(make())
                again = host.call(lambda value: value, value)
            del value
            assert content(atoll.clone(again)) == seen
            wait_until_live(0 if kind == "isolate" else 1)
            del again
            wait_until_live(0)
        """,
        kind=kind,
    )


def test_a_payload_in_a_message_that_nobody_takes_ends_with_the_message(play: Callable[..., str], kind: str) -> None:
    play(
        """
        if __name__ == "__main__":
            channel = atoll.Channel(10)
            for _ in range(10):
                channel.send([make()])
            assert live() == 10
            with atoll.Interpreter(kind) as host:
                host.call(channel.poison)
                wait_until_live(0)
            lost = atoll.Channel(10)
            lost.send(make())
            del lost
            wait_until_live(0)
            try:
                atoll.clone([make(), threading.Lock()])
            except atoll.CloneError as error:
                assert "value[1]" in str(error)
            wait_until_live(0)
        """,
        kind=kind,
    )


def test_an_interpreter_that_cannot_import_the_type_says_so_and_loses_nothing(
    play: Callable[..., str], module: str, kind: str
) -> None:
    play(
        """
        def forget():
            sys.modules[module] = None

        if __name__ == "__main__":
            value = make()
            with atoll.Interpreter(kind) as host:
                host.call(forget)
                try:
                    host.call(content, value)
                except ImportError as error:
                    assert module in str(error)
                else:
                    raise AssertionError("it was imported")
            del value
            wait_until_live(0)
        """,
        kind=kind,
        module=module,
    )


def test_many_interpreters_may_have_it_at_once(play: Callable[..., str], kind: str) -> None:
    play(
        """
        def work(values, results):
            for value in values:
                results.send((value, content(atoll.clone(value))))

        if __name__ == "__main__":
            value, values, results = make(), atoll.Channel(8), atoll.Channel(8)
            tasks = [atoll.spawn(work, values.receiver, results.sender, kind=kind) for _ in range(3)]
            def feed():
                for _ in range(500):
                    values.send(value)
                values.close()
            feeder = threading.Thread(target=feed)
            feeder.start()
            expected = content(value)
            for _ in range(500):
                assert results.recv(30)[1] == expected
            feeder.join()
            for task in tasks:
                task.join(30)
            del value, task, tasks
            wait_until_live(0)
        """,
        kind=kind,
    )


def test_a_forked_child_counts_for_itself(play: Callable[..., str]) -> None:
    play(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        value, channel = make(), atoll.Channel(2)
        channel.send(value)
        expected = content(value)
        child = os.fork()
        received = channel.recv(10)
        assert content(received) == content(atoll.clone(value)) == expected
        del received, value
        assert live() == 0
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )


def test_a_class_may_say_how_it_is_cloned_instead(play: Callable[..., str], module: str) -> None:
    if module != "vectors":
        pytest.skip("one type is enough")
    play(
        """
        atoll.register(vectors.Vector, bytes, vectors.Vector)
        value = make()
        copy = atoll.clone(value)
        assert live() == 2
        assert content(copy) == content(value)
        """
    )


def test_large_payloads_take_no_memory_in_other_interpreters(module: str, run_child: RunChild, kind: str) -> None:
    if module != "vectors":
        pytest.skip("one type is enough")
    code, out, err = run_child(
        f"""
        import atoll, vectors

        SIZE = 200_000_000

        def peak_bytes():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

        def last(vector):
            return memoryview(vector)[-1], vector

        if __name__ == "__main__":
            vector = vectors.Vector(memoryview(bytearray(SIZE)))
            with atoll.Interpreter({kind!r}) as one, atoll.Interpreter({kind!r}) as other:
                small = vectors.Vector(bytes(8))
                one.call(last, small), other.call(last, small)
                before = peak_bytes()
                for host in (one, other):
                    host.call(last, vector)
                print((peak_bytes() - before) / SIZE)
        """
    )
    assert code == 0, err
    assert float(out) < 0.1


# What a type may do wrong: no compiler needed ----------------------------------------------------------------------


class Structure(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint32),
        ("layout", ctypes.c_uint32),
        ("payload", ctypes.c_void_p),
        ("retain", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("rebuild", ctypes.c_char_p),
    )


PAYLOAD = ctypes.create_string_buffer(8)
# Functions that take one pointer and need no Python: what they answer is ignored.
HARMLESS = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p).value
NAME = b"atoll.share"
GOOD = {
    "version": 1,
    "layout": 1,
    "payload": ctypes.addressof(PAYLOAD),
    "retain": HARMLESS,
    "release": HARMLESS,
    "rebuild": b"builtins:id",
}


class Giver:
    def __init__(self, name: bytes = NAME, **fields: Any) -> None:
        self.name = name
        self.structure = Structure(**GOOD | fields)

    def __atoll_share__(self) -> object:
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return new(ctypes.addressof(self.structure), self.name, None)


class Answers:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def __atoll_share__(self) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_the_function_is_called_with_a_capsule() -> None:
    assert type(atoll.clone(Giver())) is int


@pytest.mark.parametrize(
    ("giver", "reason"),
    [
        (Giver(version=9), r"version 9, and this Atoll knows 1; build the extension with the atoll.h"),
        (Giver(version=0), r"version 0, "),
        (Giver(payload=None), "payload is NULL; set it"),
        (Giver(retain=None), "retain is NULL; set it"),
        (Giver(release=None), "release is NULL; set it"),
        (Giver(rebuild=None), "rebuild is NULL; set it"),
        (Giver(rebuild=b"nothing"), r'rebuild "nothing"; write "module:function"'),
        (Giver(rebuild=b":x"), r'write "module:function"'),
        (Giver(rebuild=b"\xff:x"), r'write "module:function"'),
        (Giver(name=b"other.share"), "no capsule named .atoll.share. but an object of type PyCapsule"),
        (Answers(None), "no capsule named .atoll.share. but an object of type NoneType"),
        (Answers(7), "but an object of type int; see atoll.h"),
        (Answers(OSError("gone")), "raised OSError: gone; correct its .*__atoll_share__"),
    ],
)
def test_what_is_wrong_with_a_capsule_is_said_by_the_sender(giver: object, reason: str) -> None:
    with pytest.raises(atoll.CloneError, match=reason) as caught:
        atoll.clone({"a": [giver]})
    assert caught.value.path == "value['a'][0]"
    culprit = atoll.explain([giver]).culprit
    assert culprit is not None
    assert culprit.way == "refused"


def test_a_function_that_is_not_there_is_an_error_of_the_receiver() -> None:
    with pytest.raises(ImportError, match="nowhere_at_all"):
        atoll.clone(Giver(rebuild=b"nowhere_at_all:rebuild"))
    with pytest.raises(AttributeError, match="no_such_function"):
        atoll.clone(Giver(rebuild=b"builtins:no_such_function"))


def test_a_subclass_may_decline_and_is_cloned_as_any_object() -> None:
    class Declines(Answers):
        __atoll_share__ = None  # type: ignore[assignment]

    assert atoll.clone(Declines([7])).answer == [7]


def test_the_header_lies_in_the_package() -> None:
    assert Path(atoll.get_include(), "atoll.h").is_file()
