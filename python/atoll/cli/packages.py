"""Which installed distributions bring compiled modules, and what to import to find out whether they work."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple

from atoll.cli.usage import UsageError

OWN = "atoll"


class Package(NamedTuple):
    """One installed distribution."""

    name: str
    version: str
    imports: list[str]
    """What its user imports: its packages that hold compiled modules, else those modules themselves."""
    compiled: list[str]
    """Its compiled modules, the shallowest first; empty if it is pure Python."""


def compiled_packages() -> list[Package]:
    """Every installed distribution that has compiled modules, but Atoll itself; sorted by name."""
    found = (describe(distribution) for name, distribution in sorted(installed().items()) if name != OWN)
    return [package for package in found if package.compiled]


def named_packages(names: Iterable[str]) -> list[Package]:
    """The distributions that *names* ask for, by the name of the distribution or of an import.

    Raises UsageError if there is none of a name.
    """
    here = installed()
    result: dict[str, Package] = {}
    for name in names:
        asked = [normal(name)] if normal(name) in here else [key for key, one in here.items() if provides(one, name)]
        if not asked:
            raise UsageError(
                f"cannot probe {name} (no such distribution is installed); see 'pip list' for those that are"
            )
        result.update((key, describe(here[key])) for key in asked)
    return list(result.values())


def installed() -> dict[str, Distribution]:
    """Every installed distribution by its normal name. Of two with one name, the first on the path is imported."""
    found: dict[str, Distribution] = {}
    for distribution in distributions():
        try:
            name, _ = distribution.metadata["Name"], distribution.metadata["Version"]
        except Exception:  # what a folder without METADATA raises depends on the release of Python
            continue
        if name:
            found.setdefault(normal(name), distribution)
    return found


def normal(name: str) -> str:
    """A distribution's name as indexes compare it.

    >>> normal("Scikit_Learn")
    'scikit-learn'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def describe(distribution: Distribution) -> Package:
    """Find the compiled modules of one distribution, and what to import."""
    files = files_of(distribution)
    compiled, imports = modules(files)
    if not compiled:
        imports = top_level(distribution, files)
    return Package(distribution.name, distribution.version or "?", imports, compiled)


def provides(distribution: Distribution, module: str) -> bool:
    """Whether the distribution installs the top-level *module*."""
    return any(path.split("/")[0].split(".")[0] == module for path in files_of(distribution))


def files_of(distribution: Distribution) -> list[str]:
    """The files of a distribution, relative to where it is installed."""
    return [str(path) for path in distribution.files or ()] or files_without_record(distribution)


def modules(files: Sequence[str]) -> tuple[list[str], list[str]]:
    """The compiled modules among *files* (relative to site-packages), and the imports that a user would write.

    >>> modules(["PIL/__init__.py", "PIL/_imaging.abi3.so", "pillow.libs/libjpeg.so", "PIL/Image.py"])
    (['PIL._imaging'], ['PIL'])
    >>> modules(["google/_upb/_message.abi3.so", "google/protobuf/__init__.py"])
    (['google._upb._message'], ['google._upb._message'])
    """
    inits = {os.path.dirname(path) for path in files if os.path.basename(path) == "__init__.py"}
    compiled, imports = set(), set()
    for path in files:
        suffix = next((suffix for suffix in EXTENSION_SUFFIXES if path.endswith(suffix)), None)
        parts = path.removesuffix(suffix or "").split("/")
        if suffix is None or not all(part.isidentifier() for part in parts):
            continue  # also leaves out what lies in NAME.libs, and the helpers of mypyc, which begin with a digit
        name = ".".join(parts)
        compiled.add(name)
        folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        package = next((folder for folder in folders if folder in inits), None)
        imports.add(package.replace("/", ".") if package else name)
    if any(not name.endswith("__mypyc") for name in imports):
        imports = {name for name in imports if not name.endswith("__mypyc")}
    return sorted(compiled, key=lambda name: (name.count("."), name)), sorted(imports)


def files_without_record(distribution: Distribution) -> list[str]:
    """The files of a distribution whose installer kept no list (Debian's packages): those below its top-level names."""
    result = []
    for name in (distribution.read_text("top_level.txt") or distribution.name.replace("-", "_")).split():
        top = Path(str(distribution.locate_file(name)))
        site = top.parent
        found = top.rglob("*") if top.is_dir() else site.glob(f"{name}.*")
        result += [path.relative_to(site).as_posix() for path in found if path.suffix in (".py", ".so")]
    return result


def top_level(distribution: Distribution, files: Sequence[str]) -> list[str]:
    """What to import of a distribution without compiled modules."""
    listed = (distribution.read_text("top_level.txt") or "").split()
    if not listed:
        inits = (path.split("/") for path in files if path.endswith("/__init__.py"))
        listed = [parts[0] for parts in inits if len(parts) == 2]
        listed += [path[:-3] for path in files if path.endswith(".py") and "/" not in path]
    return sorted({name for name in listed if name.isidentifier()})
