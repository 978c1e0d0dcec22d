"""What an isolate is told about its environment: where the library is, what is packed, what venvs and Pythons give."""

from __future__ import annotations

import json
import marshal
import os
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.isolates.programs import Done, check

import atoll
from atoll import HostUnavailable, Interpreter, _environment, _libpython, _probe

type RunProgram = Callable[..., Done]

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBRARY = f"libpython{VERSION}.so.1.0"


def facts(**changes: object) -> dict[str, Any]:
    """A Python as `_environment` sees it."""
    return {
        "version": VERSION,
        "abiflags": "",
        "multiarch": "x86_64-linux-gnu",
        "base_prefix": "/nowhere",
        "executable": "/nowhere/bin/python",
        "libdir": "",
        "instsoname": "",
        **changes,
    }


def touch(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return str(file)


# Finding the library ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["lib", "lib/x86_64-linux-gnu", "lib64"], ids=["pyenv", "debian", "fedora"])
def test_the_library_is_found_beside_the_prefix(tmp_path: Path, folder: str) -> None:
    library = touch(tmp_path / folder / LIBRARY)

    assert _libpython.find_library(facts(base_prefix=str(tmp_path)))[0] == library


def test_the_library_is_found_where_the_build_says(tmp_path: Path) -> None:
    library = touch(tmp_path / "odd" / "libpython-odd.so.1")

    found, _ = _libpython.find_library(facts(libdir=str(tmp_path / "odd"), instsoname="libpython-odd.so.1"))
    assert found == library


def test_a_missing_library_is_reported_with_every_place_looked_at(tmp_path: Path) -> None:
    found, looked = _libpython.find_library(facts(base_prefix=str(tmp_path), libdir="/elsewhere"))

    assert found is None
    assert str(tmp_path / "lib" / LIBRARY) in looked
    assert f"/elsewhere/{LIBRARY}" in looked
    assert len(looked) == len(set(looked))


@pytest.mark.parametrize(
    ("prefix", "remedy"),
    [
        ("/usr", f"apt install libpython{VERSION}"),
        ("/root/.pyenv/versions/3.13.0", "--enable-shared"),
        ("/opt/own", "ATOLL_LIBPYTHON"),
    ],
)
def test_the_remedy_for_a_missing_library_fits_the_installation(prefix: str, remedy: str) -> None:
    assert remedy in _libpython.library_remedy(facts(base_prefix=prefix))


def test_the_variable_overrides_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = touch(tmp_path / "mine.so")
    monkeypatch.setenv("ATOLL_LIBPYTHON", library)

    assert _libpython.own_library() == library
    assert _environment.here().libpython == library


def test_a_variable_that_names_no_file_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATOLL_LIBPYTHON", str(tmp_path / "gone.so"))

    with pytest.raises(HostUnavailable, match=r"gone\.so.*ATOLL_LIBPYTHON"):
        _environment.here()
    isolate = atoll.capabilities()["isolate"]
    assert not isolate.available
    assert "gone.so" in isolate.reason or _environment.room().reason


def test_a_library_that_is_no_python_is_refused(run_program: RunProgram, tmp_path: Path) -> None:
    noise = tmp_path / "noise.so"
    noise.write_bytes(b"no library at all")
    done = run_program(
        """
        import atoll
        for _ in range(3):
            try:
                atoll.Interpreter(kind="isolate")
            except atoll.HostUnavailable as error:
                print("noise.so" in str(error))
        """,
        env={"ATOLL_LIBPYTHON": str(noise)},
    )
    assert check(done).split() == ["True"] * 3


# Packing ---------------------------------------------------------------------------------------------------------


def unpacked(blob: bytes) -> dict[str, list[bytes]]:
    """The items by their tags."""
    items: dict[str, list[bytes]] = {}
    for item in blob.split(b"\0"):
        items.setdefault(chr(item[0]), []).append(item[1:])
    return items


def setup_of(blob: bytes) -> dict[str, Any]:
    setup: dict[str, Any] = marshal.loads(bytes.fromhex(unpacked(blob)["s"][0].decode()))
    return setup


@pytest.fixture
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*_environment.THREAD_VARIABLES, "ATOLL_ISOLATE_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_packed_environment_says_everything_once() -> None:
    items = unpacked(_environment.here().pack())

    assert [len(items[tag]) for tag in "lnpks"] == [1] * 5
    assert items["p"] == [VERSION.encode()]
    assert items["n"][0].endswith(b".so")
    assert f"s:executable={sys.executable}".encode() in items["c"]
    assert [item for item in items["c"] if item.startswith(b"l:argv=")] == [b"l:argv=" + a.encode() for a in sys.argv]


def test_bytes_that_are_no_text_survive_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"ATOLL_ODD", b"caf\xe9=\xff")

    blob = _environment.here().pack()
    assert b"ATOLL_ODD=caf\xe9=\xff" in unpacked(blob)["v"]
    assert os.fsencode(setup_of(blob)["environ"]["ATOLL_ODD"]) == b"caf\xe9=\xff"


def test_unbuffered_output_is_for_child_processes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")

    environment = _environment.here()
    assert "PYTHONUNBUFFERED" not in environment.environ
    assert environment.setup["environ"]["PYTHONUNBUFFERED"] == "1"


@pytest.mark.usefixtures("isolates_here")
def test_odd_things_in_the_path_and_the_arguments_do_no_harm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Text(str):
        def __repr__(self) -> str:
            return "not a literal"

    (tmp_path / "an_odd_one.py").write_text("value = 13")
    monkeypatch.setattr(sys, "path", [3, tmp_path, b"/bytes", Text("/text"), *sys.path])
    monkeypatch.setattr(sys, "argv", [Text("a"), "b\0c", None, "'\\\""])

    with Interpreter(kind="isolate") as host:
        host.exec("import sys, an_odd_one; assert an_odd_one.value == 13")
        host.exec("assert sys.argv == ['a', 'b\\0c', '\\'\\\\\"'], sys.argv")
        host.exec("assert '/bytes' in sys.path and '/text' in sys.path")


@pytest.mark.usefixtures("isolates_here")
def test_an_isolate_describes_itself_as_its_opener_does() -> None:
    def key() -> str:
        from atoll import _environment

        return _environment.here().key

    with Interpreter(kind="isolate") as host:
        assert host.call(key) == _environment.here().key


def test_what_a_session_sets_is_no_part_of_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = _environment.here().key
    monkeypatch.setenv("ATOLL_ODD", "1")
    monkeypatch.setattr(sys, "argv", ["another", "call"])
    monkeypatch.syspath_prepend(str(tmp_path))

    assert _environment.here().key == before


def test_other_installed_packages_make_another_key() -> None:
    assert _environment.here([*sys.path, "/opt/lib/site-packages"]).key != _environment.here().key


def test_describing_the_caller_is_cheap_after_the_first_time() -> None:
    import time

    _environment.here().pack()
    durations = []
    for _ in range(51):
        start = time.perf_counter()
        _environment.here().pack()
        durations.append(time.perf_counter() - start)
    assert sorted(durations)[25] < 0.002


# The number of threads -------------------------------------------------------------------------------------------


def test_libraries_are_told_how_many_threads_to_start(clean_environ: pytest.MonkeyPatch) -> None:
    clean_environ.setenv("ATOLL_ISOLATE_THREADS", "3")

    environment = _environment.here()
    assert {environment.environ[name] for name in _environment.THREAD_VARIABLES} == {"3"}
    assert environment.setup["threads"] == 3


def test_without_the_knob_the_cores_are_divided_among_the_isolates(clean_environ: pytest.MonkeyPatch) -> None:
    clean_environ.setattr(_environment, "cores", lambda: 16)
    clean_environ.setattr(_environment, "room", lambda: _environment.Room(5, 0, 0, ""))

    assert _environment.here().environ["OPENBLAS_NUM_THREADS"] == "3"


def test_a_variable_that_the_user_has_set_wins(clean_environ: pytest.MonkeyPatch) -> None:
    clean_environ.setenv("OMP_NUM_THREADS", "7")

    assert _environment.here().environ["OMP_NUM_THREADS"] == "7"


def test_zero_leaves_the_libraries_alone(clean_environ: pytest.MonkeyPatch) -> None:
    clean_environ.setenv("ATOLL_ISOLATE_THREADS", "0")

    assert not set(_environment.THREAD_VARIABLES) & set(_environment.here().environ)


@pytest.mark.parametrize("setting", ["many", "-1", "1.5", "²"])
def test_a_bad_number_of_threads_is_a_value_error(clean_environ: pytest.MonkeyPatch, setting: str) -> None:
    clean_environ.setenv("ATOLL_ISOLATE_THREADS", setting)

    with pytest.raises(ValueError, match="ATOLL_ISOLATE_THREADS"):
        _environment.here()


# Virtual environments --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A venv of the Python that runs here, with a module in it. One for all tests: each takes an isolate for ever."""
    folder = tmp_path_factory.mktemp("own") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    site = folder / "lib" / f"python{VERSION}" / "site-packages"
    (site / "only_in_the_venv.py").write_text("value = 11")
    return folder


def test_a_venv_of_this_python_needs_no_question(own_venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_probe, "ask", lambda python: pytest.fail("it was started"))
    monkeypatch.setenv("PYTHONPATH", "/somewhere")

    environment = _environment.of_venv(own_venv)
    assert f"s:executable={own_venv}/bin/python" in environment.config
    assert environment.setup["path"] is None
    assert "PYTHONPATH" not in {**environment.environ, **environment.setup["environ"]}
    assert environment.key != _environment.here().key


def test_a_venv_that_does_not_exist_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder.*python -m venv"):
        Interpreter(venv=tmp_path / "gone")


def test_a_folder_that_is_no_venv_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pyvenv\.cfg"):
        Interpreter(venv=tmp_path)


def test_a_venv_whose_python_is_gone_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").write_text("home = /nowhere")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/nowhere/python")

    with pytest.raises(ValueError, match="dangling"):
        Interpreter(venv=tmp_path)


@pytest.mark.parametrize("argument", ["venv", "python"])
def test_another_environment_in_a_sub_interpreter_is_a_value_error(argument: str) -> None:
    with pytest.raises(ValueError, match="kind='isolate'"):
        Interpreter(kind="interpreter", **{argument: "/usr"})


def test_a_venv_and_a_python_at_once_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="both venv and python"):
        Interpreter(venv="/a", python="/b")


@pytest.mark.parametrize("argument", ["venv", "python"])
def test_a_place_that_is_no_path_is_a_type_error(argument: str) -> None:
    with pytest.raises(TypeError, match=f"{argument}=3"):
        Interpreter(**{argument: 3})  # type: ignore[arg-type]


# Isolates of other environments are opened in processes of their own: each takes one of the few places for good.


def test_an_isolate_on_a_venv_sees_it_and_not_the_caller(run_program: RunProgram, own_venv: Path) -> None:
    done = run_program(f"""
        import atoll

        def look():
            import importlib.util, sys
            import only_in_the_venv
            import atoll
            found = importlib.util.find_spec("pytest")
            return only_in_the_venv.value, sys.prefix, sys.executable, found, "run" in dir(atoll)

        with atoll.Interpreter(venv={str(own_venv)!r}) as host:
            assert host.kind == "isolate"
            print(*host.call(look))
    """)
    assert check(done).split() == ["11", str(own_venv), str(own_venv / "bin" / "python"), "None", "True"]


def test_a_path_comes_before_what_the_venv_has(run_program: RunProgram, own_venv: Path, tmp_path: Path) -> None:
    (tmp_path / "only_in_the_venv.py").write_text("value = 12")
    done = run_program(f"""
        import atoll
        with atoll.Interpreter(venv={str(own_venv)!r}, path=[{str(tmp_path)!r}]) as host:
            host.exec("import only_in_the_venv; print(only_in_the_venv.value)")
    """)
    assert check(done).strip() == "12"


def test_child_processes_of_an_isolate_on_a_venv_are_in_that_venv(run_program: RunProgram, own_venv: Path) -> None:
    done = run_program(f"""
        import atoll

        def ask():
            import subprocess, sys
            command = [sys.executable, "-c", "import sys, only_in_the_venv; print(sys.prefix)"]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

        with atoll.Interpreter(venv={str(own_venv)!r}) as host:
            print(host.call(ask))
    """)
    assert check(done).strip() == str(own_venv)


# Other Pythons ---------------------------------------------------------------------------------------------------


@pytest.fixture
def make_python(tmp_path: Path) -> Callable[..., Path]:
    """An executable that answers as a Python with these facts would."""

    def make(**changes: object) -> Path:
        answer = {
            **facts(),
            "implementation": "cpython",
            "version_info": [*sys.version_info[:3]],
            "suffix": ".cpython-399-somewhere.so",
            "free_threaded": False,
            "native": "",
            "release": "",
            **changes,
        }
        executable = tmp_path / "python"
        executable.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
        executable.chmod(0o755)
        return executable

    return make


def test_a_python_that_does_not_exist_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        Interpreter(python=tmp_path / "gone")


def test_a_file_that_is_not_executable_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an executable"):
        Interpreter(python=touch(tmp_path / "python"))


def test_a_program_that_is_no_python_is_said_so() -> None:
    with pytest.raises(HostUnavailable, match="does not run as a Python"):
        Interpreter(python="/bin/true")


def test_a_file_that_cannot_be_executed_is_said_so(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_bytes(b"\x7fELF no more")
    broken.chmod(0o755)
    with pytest.raises(HostUnavailable, match="does not run as a Python"):
        Interpreter(python=broken)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"implementation": "pypy"}, "it is pypy"),
        ({"version_info": [3, 12, 9]}, r"3\.12\.9.*3\.13 or newer"),
        ({"free_threaded": True}, "free-threaded"),
        ({}, r"was not found; looked for .*--enable-shared"),
    ],
    ids=["another implementation", "too old", "free-threaded", "no library"],
)
def test_a_python_that_cannot_be_loaded_says_why(
    make_python: Callable[..., Path], changes: dict[str, object], text: str
) -> None:
    with pytest.raises(HostUnavailable, match=text):
        _environment.of_python(make_python(**changes))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, r"atoll is not installed there.*-m pip install atoll=="),
        ({"native": "/x/atoll/_native.so", "release": "0.0.1"}, r"it has atoll 0\.0\.1.*-m pip install"),
    ],
    ids=["no atoll", "another release"],
)
def test_a_python_without_our_atoll_says_how_to_install_it(
    make_python: Callable[..., Path], tmp_path: Path, changes: dict[str, object], text: str
) -> None:
    touch(tmp_path / "lib" / LIBRARY)
    with pytest.raises(HostUnavailable, match=text):
        _environment.of_python(make_python(base_prefix=str(tmp_path), **changes))


def test_the_glue_of_a_python_with_our_release_is_taken_from_there(
    make_python: Callable[..., Path], tmp_path: Path
) -> None:
    touch(tmp_path / "lib" / LIBRARY)
    python = make_python(
        base_prefix=str(tmp_path), native="/x/atoll/_native.so", release=_environment.own_release(), executable="/x/py"
    )

    environment = _environment.of_python(python)
    assert environment.native == "/x/atoll/_native.so"
    assert environment.libpython == str(tmp_path / "lib" / LIBRARY)
    assert "s:executable=/x/py" in environment.config
    assert environment.setup["offers"] == {}


def test_a_python_is_asked_again_only_when_it_has_changed(make_python: Callable[..., Path]) -> None:
    python = make_python(abiflags="first")
    assert _probe.ask(python) is _probe.ask(python)

    make_python(abiflags="the second time")
    assert _probe.ask(python)["abiflags"] == "the second time"


def test_the_running_python_can_be_asked_too() -> None:
    answer = _probe.ask(sys.executable)
    assert (answer["version"], answer["base_prefix"]) == (VERSION, sys.base_prefix)


def test_an_isolate_of_a_named_python_is_that_python(run_program: RunProgram) -> None:
    done = run_program("""
        import sys, atoll
        with atoll.Interpreter(python=sys.executable) as host:
            print(host.call(lambda: __import__("sys").executable) == sys.executable)
    """)
    assert check(done).strip() == "True"


# Functions between versions --------------------------------------------------------------------------------------


def test_bytecode_of_another_version_is_refused_but_values_are_not() -> None:
    from atoll import _rebuild, _shipping

    offset = 7
    function, _ = _shipping.dump(lambda x: x + offset)
    values, _ = _shipping.dump([1, "two", {"three": 3.0}])
    foreign = b"\x00\x00\r\n"

    assert _rebuild.undump(function)(1) == 8
    with pytest.raises(atoll.CloneError, match="bytecode"):
        _rebuild.undump(foreign + function[4:])
    assert _rebuild.undump(foreign + values[4:]) == [1, "two", {"three": 3.0}]


def test_an_exception_class_compiled_elsewhere_arrives_as_its_nearest_known_base() -> None:
    from atoll import _failures, _shipping

    class Leak(LookupError):
        def depth(self) -> int:
            return 3

    blob = _failures.dump_failure(Leak("wet", 5))
    error = _failures.load_failure(blob.replace(_shipping.MAGIC_NUMBER, b"\x00\x00\r\n"))
    assert type(error) is LookupError
    assert error.args == ("wet", 5)
    assert any("Leak" in note for note in error.__notes__)
