"""What is typed into cells works in other interpreters: in a real Jupyter kernel, driven by nbclient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebooks`")
pytest.importorskip("ipykernel", reason="needs the extra `notebooks`")
nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebooks`")

# What Jupyter's own packages warn of is not ours to mend.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Notebook:
    """A kernel, and the cells that ran in it."""

    def __init__(self) -> None:
        self._book = nbformat.v4.new_notebook()
        self._client = nbclient.NotebookClient(self._book, timeout=60, kernel_name="python3", allow_errors=True)
        self._running = self._client.setup_kernel()

    def __enter__(self) -> Self:
        self._running.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._running.__exit__(*error)  # type: ignore[arg-type]

    def __call__(self, source: str) -> str:
        """Run a cell: all that it printed and showed, an error's traceback included."""
        cell = nbformat.v4.new_code_cell(source)
        self._book.cells.append(cell)
        self._client.execute_cell(cell, len(self._book.cells) - 1)
        return "".join(_text(output) for output in cell.outputs).strip()


def _text(output: dict[str, object]) -> str:
    if output["output_type"] == "stream":
        return str(output["text"])
    if output["output_type"] == "error":
        return "\n".join(output["traceback"])  # type: ignore[arg-type]
    return str(output["data"]["text/plain"]) + "\n"  # type: ignore[index]


@pytest.fixture
def cell(kind: str) -> Iterator[Notebook]:
    with Notebook() as notebook:
        assert notebook(f"import atoll\nKIND = {kind!r}") == ""
        yield notebook


def test_a_function_of_a_cell_works_is_redefined_and_works_again(cell: Notebook) -> None:
    cell("def double(n):\n    return 2 * n")
    assert cell("atoll.run(double, 21, kind=KIND)") == "42"

    cell("def double(n):\n    return n + n + 1")
    assert cell("atoll.run(double, 21, kind=KIND)") == "43"


def test_a_redefined_helper_is_used_by_the_function_that_calls_it(cell: Notebook) -> None:
    cell("def unit():\n    return 'm'\ndef show(n):\n    return f'{n} {unit()}'")
    assert cell("print(atoll.run(show, 3, kind=KIND))") == "3 m"

    cell("def unit():\n    return 'km'")
    assert cell("print(atoll.run(show, 3, kind=KIND))") == "3 km"


def test_a_changed_global_is_seen_by_the_next_task(cell: Notebook) -> None:
    cell("factor = 2\ndef scale(n):\n    return n * factor")
    assert cell("list(atoll.map(scale, [1, 2, 3], kind=KIND))") == "[2, 4, 6]"

    cell("factor = 10")
    assert cell("list(atoll.map(scale, [1, 2, 3], kind=KIND))") == "[10, 20, 30]"


def test_an_import_of_a_cell_is_there_in_the_function(cell: Notebook) -> None:
    cell("import math\nfrom math import floor as down")
    cell("def area(r):\n    return down(math.pi * r * r)")
    assert cell("atoll.run(area, 2, kind=KIND)") == "12"


def test_a_class_of_a_cell_works_is_redefined_and_works_again(cell: Notebook) -> None:
    cell(
        "class Point:\n    def __init__(self, x):\n        self.x = x\n    def far(self):\n        return self.x > 10\n"
        "def look(x):\n    return Point(x).far()"
    )
    assert cell("atoll.run(look, 11, kind=KIND)") == "True"

    cell(
        "class Point:\n    def __init__(self, x):\n        self.x = x\n    def far(self):\n        return self.x > 100"
    )
    assert cell("atoll.run(look, 11, kind=KIND)") == "False"


def test_an_instance_of_a_class_of_a_cell_goes_there_and_back_as_its_class(cell: Notebook) -> None:
    cell("class Box:\n    def __init__(self, n):\n        self.n = n\ndef grow(box):\n    return Box(box.n + 1)")
    assert cell("box = atoll.run(grow, Box(1), kind=KIND)\ntype(box) is Box, box.n") == "(True, 2)"

    cell("class Box:\n    def __init__(self, n):\n        self.n = 10 * n")
    assert cell("box = atoll.run(grow, Box(1), kind=KIND)\ntype(box) is Box, box.n") == "(True, 110)"


def test_a_lambda_and_a_closure_of_a_cell_work(cell: Notebook) -> None:
    cell("def adder(n):\n    return lambda m: n + m")
    assert cell("atoll.run(adder(40), 2, kind=KIND), atoll.run(lambda: 'λ', kind=KIND)") == "(42, 'λ')"


def test_an_exception_of_a_cell_is_caught_as_its_class_and_shows_the_cells_lines(cell: Notebook) -> None:
    cell("class Odd(Exception):\n    pass\ndef refuse(n):\n    raise Odd(n)  # the culprit")
    shown = cell(
        "try:\n    atoll.run(refuse, 3, kind=KIND)\nexcept Odd as error:\n    print(error.args, error.__cause__)"
    )

    assert shown.startswith("(3,)")
    assert "in refuse" in shown
    assert "raise Odd(n)  # the culprit" in shown


def test_a_channel_joins_a_cell_and_a_task(cell: Notebook) -> None:
    cell(
        "channel = atoll.Channel()\ndef fill(n):\n    for i in range(n):\n        channel.send(i)\n    channel.close()"
    )
    assert cell("task = atoll.spawn(fill, 4, kind=KIND)\nlist(channel)") == "[0, 1, 2, 3]"


def test_interrupting_the_kernel_ends_a_cell_that_waits(cell: Notebook) -> None:

    cell("begun = atoll.Channel()\ndef wait():\n    begun.send(1)\n    atoll.Channel().recv()")
    cell("import os, signal, threading")
    shown = cell(
        "def interrupt():\n    begun.recv()\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=interrupt).start()\n"
        "try:\n    atoll.run(wait, kind=KIND)\nexcept KeyboardInterrupt:\n    print('interrupted')"
    )

    assert shown == "interrupted"
    assert cell("atoll.run(len, 'still there', kind=KIND)") == "11"
