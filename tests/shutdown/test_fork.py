"""A forked child has no workers and says so; the parent is unharmed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

type RunChild = Callable[[str], tuple[int, str, str]]

FORK = """
import os, sys, traceback, warnings
import atoll
warnings.simplefilter("ignore", DeprecationWarning)
assert atoll.run(abs, -1) == 1
host = atoll.Interpreter()
channel = atoll.Channel(4)
pid = os.fork()
if pid == 0:
    try:
        {statement}
    except atoll.AtollError as error:
        print(type(error).__name__, error, flush=True)
        os._exit(7)
    except BaseException:
        traceback.print_exc()
        os._exit(8)
    os._exit(9)
_, status = os.waitpid(pid, 0)
assert atoll.run(abs, -2) == 2
host.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize(
    "statement",
    ["atoll.spawn(abs, -1)", "atoll.run(abs, -1)", "list(atoll.map(abs, [1]))", "host.call(abs, 1)",
     "atoll.Interpreter()"],
)  # fmt: skip
def test_using_a_worker_in_a_forked_child_is_a_clear_error(run_child: RunChild, statement: str) -> None:
    code, out, err = run_child(FORK.format(statement=statement))
    assert code == 7, out + err
    assert "fork" in out


def test_a_forked_child_that_leaves_atoll_alone_ends_normally(run_child: RunChild) -> None:
    code, out, err = run_child(
        FORK.format(statement="sys.exit(0)").replace("except BaseException", "except ValueError")
    )
    assert code == 0, out + err


def test_capabilities_in_a_forked_child_tell_why(run_child: RunChild) -> None:
    code, _, err = run_child(
        FORK.format(statement="os._exit(5 if 'fork' in atoll.capabilities()['interpreter'].reason else 6)")
    )
    assert code == 5, err
