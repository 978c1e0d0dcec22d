"""Where the shared library of a Python is: isolates are private copies of it.

Builds with a shared library run on it anyway. A static `python` (Debian, conda, uv's standalone builds) has one shipped
beside it, or in a package of its own.
"""

from __future__ import annotations

import os
import sys

from ._errors import HostUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The version that runs here, as far as bytecode and the C-API depend on it."""

LIBRARY_VARIABLE = "ATOLL_LIBPYTHON"
"""The shared library of the running Python, for installations where it is not found."""

type Facts = dict[str, Any]
"""What there is to know of a Python: version, abiflags, multiarch, base_prefix, libdir, instsoname, and more."""

_own_library: tuple[str | None, str | None, list[str]] | None = None


def own_library() -> str:
    """The shared library of the running Python. Raises HostUnavailable with where it was looked for."""
    global _own_library
    setting = os.environ.get(LIBRARY_VARIABLE)
    if _own_library is None or _own_library[0] != setting:
        _own_library = (setting, *find_library(_own_facts(), setting))
    _, found, looked = _own_library
    if found is None:
        raise HostUnavailable(without_library(_own_facts(), looked, setting))
    return found


def find_library(facts: Facts, setting: str | None = None) -> tuple[str | None, list[str]]:
    """The shared library of the Python with these *facts*, or None, and every place that was looked at.

    *setting* is the user's word on it: nothing else is looked at then.
    """
    if setting:
        return (setting if os.path.isfile(setting) else None), [setting]
    looked: list[str] = []
    for candidate in _library_candidates(facts):
        if candidate not in looked:
            looked.append(candidate)
            if os.path.isfile(candidate):
                return candidate, looked
    return None, looked


def _library_candidates(facts: Facts) -> Iterable[str]:
    name = f"libpython{facts['version']}{facts['abiflags']}.so.1.0"
    base, multiarch = facts["base_prefix"], facts["multiarch"]
    yield os.path.join(base, "lib", name)  # pyenv, conda, uv's standalone builds, /usr/local
    if multiarch:
        yield os.path.join(base, "lib", multiarch, name)  # Debian and its descendants
    yield os.path.join(base, "lib64", name)
    libdir, instsoname = facts.get("libdir"), facts.get("instsoname")
    if libdir is None:
        import sysconfig  # its data takes milliseconds to load, and the places above mostly do

        libdir, instsoname = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    if libdir:
        yield os.path.join(libdir, name)
        if instsoname and ".so" in instsoname:
            yield os.path.join(libdir, instsoname)


def _own_facts() -> Facts:
    return {
        "version": VERSION,
        "abiflags": sys.abiflags,
        "multiarch": getattr(sys.implementation, "_multiarch", ""),
        "base_prefix": sys.base_prefix,
        "executable": sys.executable,
    }


def without_library(facts: Facts, looked: list[str], setting: str | None = None) -> str:
    version = facts["version"]
    if setting:
        return (
            f"cannot open an isolate (there is no file {setting!r}, which {LIBRARY_VARIABLE} names); "
            f"set it to libpython{version}.so.1.0, or unset it"
        )
    return (
        f"cannot open an isolate (the shared library of Python {version} at {facts['base_prefix']} was not found; "
        f"looked for {', '.join(looked)}); {library_remedy(facts)}"
    )


def library_remedy(facts: Facts | None = None) -> str:
    """How to get the shared library for a Python, the running one by default."""
    facts = facts or _own_facts()
    version, base = facts["version"], facts["base_prefix"]
    if base == "/usr":
        return f"install it (Debian, Ubuntu: apt install libpython{version})"
    if f"{os.sep}.pyenv{os.sep}" in f"{base}{os.sep}":
        return f"build it: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force {version}"
    return f"use a Python built with --enable-shared, or set {LIBRARY_VARIABLE} to its libpython{version}.so.1.0"
