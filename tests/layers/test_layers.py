"""Dependencies point one way: python/atoll → ext → host → core, ext → codec, host and ext → py → pyo3-ffi."""

import ast
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CRATES = {
    "atoll-share": set(),
    "atoll-core": {"atoll-share"},
    "atoll-codec": set(),
    "atoll-py": set(),
    "atoll-host": {"atoll-core", "atoll-py"},
    "atoll-ext": {"atoll-core", "atoll-codec", "atoll-host", "atoll-py", "atoll-share"},
}

# Which modules of python/atoll may name which others: a module knows only what stands above it here. Modules on
# one line may know each other.
LAYERS = [
    {"atoll._errors", "atoll._queue_errors", "atoll._source_lines"},
    {"atoll._native", "atoll._probe", "atoll._libpython"},
    {"atoll.channels", "atoll.cloning", "atoll._shipping", "atoll._loading", "atoll._rebuild"}
    | {"atoll._exit", "atoll._environment", "atoll._rules"},
    {"atoll._streams", "atoll._visits", "atoll.debugging"},
    {"atoll._asyncio", "atoll._clone", "atoll._arrow"},
    {"atoll._failures", "atoll.aio", "atoll.explaining"},
    {"atoll._agent", "atoll.tasks"},
    {"atoll.groups", "atoll.interpreters", "atoll.mapping", "atoll._isolate"},
    {"atoll._pool"},
    {"atoll._pool.worker", "atoll._pool.reports", "atoll._pool.context", "atoll._pool.future"},
    {"atoll._pool.queue"},
    {"atoll._pool.client"},
    {"atoll._pool.builder"},
    {"atoll._pool.core"},
    {"atoll._pool.map"},
    {"atoll.pool"},
    {"atoll._pool.nested"},
    {"atoll._shared_arrays", "atoll._joblib_worker"},
    {"atoll.joblib._workers"},
    {"atoll.joblib._backend"},
    {"atoll.joblib"},
    {"atoll._async_tasks"},
    {"atoll._leftovers", "atoll._debugger"},
    {"atoll.compat._registry", "atoll.compat._inside"}
    | {"atoll.compat._crossing", "atoll.compat._crossinterp", "atoll.compat._queues", "atoll.compat.channels"},
    {"atoll.compat.interpreters"},
    {"atoll.compat.futures"},
    {"atoll.compat"},
    {"atoll"},
    {"atoll.cli.usage", "atoll.cli.table", "atoll.cli.progress", "atoll.cli.measure", "atoll.cli.attempt"},
    {"atoll.cli.packages", "atoll.cli.run"},
    {"atoll.cli.probes", "atoll.cli.numbers"},
    {"atoll.cli.demo", "atoll.cli.doctor"},
    {"atoll.cli.commands"},
    {"atoll.cli"},
    {"atoll.__main__"},
]


@pytest.fixture(scope="module")
def packages() -> dict[str, list[dict[str, object]]]:
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not on PATH")
    found = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version=1", "--offline"],
        cwd=ROOT,
        env={**os.environ, "CARGO_TERM_COLOR": "never"},
        capture_output=True,
        text=True,
        check=True,
    )
    return {package["name"]: package["dependencies"] for package in json.loads(found.stdout)["packages"]}


def test_crates_depend_on_each_other_in_one_direction(packages) -> None:
    ours = {
        name: {dependency["name"] for dependency in dependencies} & CRATES.keys()
        for name, dependencies in packages.items()
    }

    assert ours == CRATES


def test_only_the_py_crate_names_pyo3_ffi(packages) -> None:
    naming = {
        name
        for name, dependencies in packages.items()
        if any(dependency["name"].startswith("pyo3") for dependency in dependencies)
    }

    assert naming == {"atoll-py"}


def test_the_codec_depends_on_nothing_at_run_time(packages) -> None:
    assert [d["name"] for d in packages["atoll-codec"] if d["kind"] is None] == []


def test_the_core_and_the_codec_do_not_mention_python_objects() -> None:
    mentions = [
        str(path.relative_to(ROOT))
        for crate in ("core", "codec")
        for path in (ROOT / "crates" / crate / "src").rglob("*.rs")
        if "PyObject" in path.read_text()
    ]

    assert mentions == []


def test_python_modules_import_only_what_stands_above_them() -> None:
    level = {module: index for index, layer in enumerate(LAYERS) for module in layer}
    modules = python_modules()

    assert modules.keys() - level.keys() == set(), "give these a place in LAYERS"
    upward = [
        f"{module} imports {imported}"
        for module, path in modules.items()
        for imported in imports(path, modules)
        if level[imported] > level[module] and imported != module
    ]
    assert upward == []


def python_modules() -> dict[str, Path]:
    """Every module of the package, by its name."""
    source = ROOT / "python"
    found = {}
    for path in sorted((source / "atoll").rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of ours that the file imports while it is imported itself."""
    found = set()
    for node in module_level(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path, node.level) if node.level else ""
            home = ".".join(filter(None, [package, node.module]))
            names = {f"{home}.{alias.name}" for alias in node.names}
            # `from atoll.cli import demo` means the module; `from atoll.tasks import spawn` its home.
            known = names & (modules.keys() | {"atoll._native"})
            found |= known or {home}
    return {name for name in found if name in modules or name == "atoll._native"}


def package_of(path: Path, level: int) -> str:
    """What *level* leading dots mean in the file."""
    return ".".join(path.parents[level - 1].relative_to(ROOT / "python").parts)


def module_level(tree: ast.Module) -> Iterator[ast.AST]:
    """The statements that run when the module is imported: not those in functions, nor for type checkers only."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        statement = waiting.pop()
        yield statement
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            continue
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)]
