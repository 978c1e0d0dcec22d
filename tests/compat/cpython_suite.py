"""CPython's own tests of its interpreters modules, with the imports changed and nothing else.

    python -m tests.compat.cpython_suite test_interpreters.test_queues

copies the tests out of the running Python's `test` package, replaces the imports, runs one module of them and prints
how each test ended, as JSON on the last line.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import tempfile
import unittest
from pathlib import Path

FOLDERS = ("test_interpreters", "test_concurrent_futures")

IMPORTS = (
    # what users change
    (r"from concurrent import interpreters", "from atoll.compat import interpreters"),
    (r"concurrent\.interpreters", "atoll.compat.interpreters"),
    (r"from test\.support import channels, ", "from atoll.compat import channels\nfrom test.support import "),
    (r"from test\.support import channels\b", "from atoll.compat import channels"),
    (r"from concurrent\.futures\.interpreter import", "from atoll.compat.futures import"),
    (r"from concurrent\.futures import (?=InterpreterPoolExecutor)", "from atoll.compat.futures import "),
    (r"executor_type = futures\.InterpreterPoolExecutor", "executor_type = InterpreterPoolExecutor"),
    (r"^(from concurrent import futures)$", r"\1\nfrom atoll.compat.futures import InterpreterPoolExecutor"),
    # the private modules through which the tests look at what there is, and clean up
    (r"import_helper\.import_module\('_interpqueues'\)", "__import__('private_modules').interpqueues"),
    (r"import_helper\.import_module\('_interpchannels'\)", "__import__('private_modules').interpchannels"),
)  # fmt: skip

PRIVATE_MODULES = """
from types import SimpleNamespace
from atoll.compat import _queues, _registry, channels

def destroy(number):
    if not _registry.ask("destroy", "queue", number):
        raise _queues.QueueNotFoundError(number)

interpqueues = SimpleNamespace(
    __name__="_interpqueues",
    list_all=lambda: [(number, unbound, -1) for number, unbound in _registry.ask("numbers", "queue")],
    destroy=destroy,
)
interpchannels = SimpleNamespace(
    __name__="_interpchannels",
    ChannelID=channels.ChannelID,
    get_count=lambda number: channels.RecvChannel(number)._info.waiting,
)
"""


def write(folder: Path) -> None:
    """Put the changed tests below *folder*."""
    import test

    source = Path(test.__file__).parent
    (folder / "private_modules.py").write_text(PRIVATE_MODULES)
    for name in FOLDERS:
        (folder / name).mkdir()
        for file in (source / name).glob("*.py"):
            text = file.read_text(encoding="utf-8")
            for pattern, replacement in IMPORTS:
                text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
            (folder / name / file.name).write_text(text, encoding="utf-8")


class Outcomes(unittest.TextTestResult):
    """How each test ended, by its name: Class.test."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.ends: dict[str, str] = {}

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().startTest(test)
        self.ends[_name(test)] = "passed"

    def addFailure(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
        super().addFailure(test, err)  # type: ignore[arg-type]
        self.ends[_name(test)] = "failed"

    def addError(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
        super().addError(test, err)  # type: ignore[arg-type]
        self.ends[_name(test)] = "failed"

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)  # type: ignore[arg-type]
        if err is not None:
            self.ends[_name(test)] = "failed"

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self.ends[_name(test)] = f"skipped: {reason}"

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().addUnexpectedSuccess(test)
        self.ends[_name(test)] = "unexpected success"


def _name(test: unittest.TestCase) -> str:
    return ".".join(test.id().split(".")[-2:])


def main(module: str, *left_out: str) -> None:
    """Run *module* without the tests (or whole classes) named in *left_out*."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        # Python scripts that the tests start would not see the path otherwise.
        script_helper = importlib.import_module("test.support.script_helper")
        script_helper.interpreter_requires_environment = lambda: True
        suite = unittest.TestSuite()
        for test in _each(unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(module))):
            if _name(test) not in left_out and _name(test).split(".")[0] not in left_out:
                suite.addTest(test)
        runner = unittest.TextTestRunner(sys.stderr, verbosity=2, resultclass=Outcomes)
        result = runner.run(suite)
        assert isinstance(result, Outcomes)
        print("\n" + json.dumps(result.ends))  # some tests print, too


def _each(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    found: list[unittest.TestCase] = []
    for test in suite:
        found += _each(test) if isinstance(test, unittest.TestSuite) else [test]
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
