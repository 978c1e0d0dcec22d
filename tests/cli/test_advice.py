"""The last line of `atoll doctor` follows from what was found."""

from __future__ import annotations

import pytest

from atoll.cli.doctor import advice
from atoll.cli.packages import Package
from atoll.cli.probes import Finding, Outcome

YES, NO = Outcome("yes"), Outcome("no", "refused")


def findings(interpreter: list[Outcome], isolate: list[Outcome] | None) -> list[Finding]:
    package = Package("islet", "1.0", ["islet"], ["islet._native"])
    if isolate is None:
        return [Finding(package, {"interpreter": one}, "") for one in interpreter]
    both = zip(interpreter, isolate, strict=True)
    return [Finding(package, {"interpreter": one, "isolate": other}, "") for one, other in both]


@pytest.mark.parametrize(
    ("interpreter", "isolate", "expected"),
    [
        ([NO, NO, YES], [YES, YES, YES], "3 of 3 packages load in isolates; 1 of 3 in sub-interpreters: use"),
        ([YES], [YES], "either kind serves"),
        ([YES, YES], [YES, NO], "use kind='interpreter'."),
        ([NO], [NO], "0 of 1 packages load in isolates; 0 of 1 in sub-interpreters: concurrent.futures"),
        ([NO, YES], None, "1 of 2 packages load in sub-interpreters; isolates, which are for the others, cannot"),
        ([YES], None, "1 of 1 packages load in sub-interpreters: use kind='interpreter'"),
        ([NO], None, "concurrent.futures"),
        ([], [], "No package with compiled modules"),
        ([Outcome("partly"), Outcome("crashes")], [YES, YES], "2 of 2 packages load in isolates; 0 of 2"),
    ],
)  # fmt: skip
def test_the_advice_names_the_kind_that_takes_the_most_packages(
    interpreter: list[Outcome], isolate: list[Outcome] | None, expected: str
) -> None:
    kinds = ["interpreter"] if isolate is None else ["interpreter", "isolate"]

    assert expected in advice(findings(interpreter, isolate), kinds)


def test_broken_packages_are_not_counted() -> None:
    found = [one._replace(broken="needs libsea") for one in findings([NO], [NO])] + findings([NO], [YES])

    assert advice(found, ["interpreter", "isolate"]).startswith("1 of 1 packages load in isolates")
    assert "mend that first" in advice(found[:1], ["interpreter", "isolate"])


def test_where_nothing_can_host_code_the_advice_is_to_read_why() -> None:
    assert "Nothing can host code here" in advice([], [])
