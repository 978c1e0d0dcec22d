"""What another Python says of itself: asked once, by starting it, as long as its executable does not change."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from ._errors import HostUnavailable

TIMEOUT = 30.0
"""Seconds that a Python has to answer."""

OLDEST = (3, 13)

_QUESTION = """
import json, sys, sysconfig
facts = {
    "implementation": sys.implementation.name,
    "version_info": list(sys.version_info[:3]),
    "version": "%d.%d" % sys.version_info[:2],
    "abiflags": getattr(sys, "abiflags", ""),
    "multiarch": getattr(sys.implementation, "_multiarch", ""),
    "base_prefix": sys.base_prefix,
    "executable": sys.executable,
    "libdir": sysconfig.get_config_var("LIBDIR") or "",
    "instsoname": sysconfig.get_config_var("INSTSONAME") or "",
    "suffix": sysconfig.get_config_var("EXT_SUFFIX") or "",
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "native": "",
    "release": "",
}
try:
    from importlib.machinery import PathFinder
    from importlib.metadata import version
    package = PathFinder.find_spec("atoll")
    native = package and PathFinder.find_spec("atoll._native", package.submodule_search_locations)
    if native:
        facts["native"] = native.origin
        facts["release"] = version("atoll")
except ImportError:
    pass
sys.stdout.write(json.dumps(facts))
"""

_answers: dict[tuple[str, int, int], dict[str, Any]] = {}


def ask(python: str | os.PathLike[str]) -> dict[str, Any]:
    """The facts of the Python with this executable. Blocks for its start the first time, some 20 ms.

    Raises FileNotFoundError or ValueError if it cannot be run, HostUnavailable if it is no CPython that fits.
    """
    executable = _executable(python)
    status = os.stat(executable)
    question = (executable, status.st_mtime_ns, status.st_size)
    facts = _answers.get(question)
    if facts is None:
        facts = _answer(executable)
        facts["stamp"] = ":".join(map(str, question))
        _answers[question] = facts
    return facts


def _executable(python: str | os.PathLike[str]) -> str:
    import shutil

    text = os.path.expanduser(os.fspath(python))
    # A bare name is looked for as a shell would; the links of a venv mean something, so they are not resolved.
    executable = os.path.abspath(text) if os.sep in text else shutil.which(text)
    if executable is None or not os.path.exists(executable):
        raise FileNotFoundError(
            f"cannot open an isolate of python={text!r} (there is no such file); pass the path of an executable"
        )
    if not os.path.isfile(executable) or not os.access(executable, os.X_OK):
        raise ValueError(
            f"cannot open an isolate of python={text!r} (it is not an executable file); pass a Python's bin/python"
        )
    return executable


def _answer(executable: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [executable, "-I", "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except OSError as error:
        raise _no_python(executable, error.strerror or str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise _no_python(executable, f"it did not answer within {TIMEOUT:g} s") from error
    try:
        facts = json.loads(done.stdout)
        implementation, version = facts["implementation"], tuple(facts["version_info"])
    except (ValueError, KeyError, TypeError):
        last_line = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        why = last_line or f"it ended with code {done.returncode} and did not answer"
        raise _no_python(executable, why) from None
    shown = ".".join(map(str, version))
    if implementation != "cpython":
        raise HostUnavailable(f"cannot open an isolate of {executable} (it is {implementation}); use a CPython")
    if version < OLDEST:
        raise HostUnavailable(
            f"cannot open an isolate of {executable} (it is Python {shown}); use {OLDEST[0]}.{OLDEST[1]} or newer"
        )
    if facts["free_threaded"]:
        raise HostUnavailable(
            f"cannot open an isolate of {executable} (it is a free-threaded build); use the usual build of {shown}"
        )
    answer: dict[str, Any] = facts
    return answer


def _no_python(executable: str, reason: str) -> HostUnavailable:
    return HostUnavailable(
        f"cannot open an isolate of {executable} (it does not run as a Python: {reason}); pass a Python's bin/python"
    )
