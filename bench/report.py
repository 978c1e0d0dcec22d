"""Tables of a written result: for the terminal, and for the README (`python -m bench.report`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.goals import GOALS, figure, ratio

ROOT = Path(__file__).parent.parent
LATEST = ROOT / "bench" / "results" / "latest.json"
README = ROOT / "README.md"
BEGIN = "<!-- bench: begin (written by `python -m bench.report` from bench/results/latest.json) -->"
END = "<!-- bench: end -->"

NOTE = "In brackets: how many times better Atoll is. Threads pass references, the others copies."
SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def short(value: float) -> str:
    """A figure for people: three digits and a scale.

    >>> short(15_712_000), short(10_100), short(1.04)
    ('15.7 M', '10.1 k', '1.04')
    """
    for scale, letter in SCALES:
        if value >= scale:
            return f"{value / scale:.3g} {letter}" if value < 1000 * scale else f"{value:.3g}"
    return f"{value:.3g}" if value >= 0.1 else f"{value:.1g}"


def cell(scenario: Mapping[str, Any], rival: str) -> str:
    """A rival's figure and how many times better Atoll is."""
    theirs = figure(scenario, rival)
    if theirs is None:
        entry = scenario["contenders"].get(rival)
        return entry["error"].partition(":")[0] if entry else "-"
    times = ratio(scenario, rival)
    return short(theirs) if times is None else f"{short(theirs)} ({short(times)} x)"


def tables(scenarios: Mapping[str, Any]) -> list[list[list[str]]]:
    """The rows of each table; scenarios with the same contenders share one, whose first row is its head."""
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for scenario in scenarios.values():
        mine, *rivals = scenario["contenders"]
        rows = groups.setdefault((mine, *rivals), [["", "unit", mine, *rivals]])
        ours = figure(scenario, mine)
        error = scenario["contenders"][mine]["error"].partition(":")[0]
        rows.append(
            [
                scenario["title"],
                scenario["unit"],
                error if ours is None else short(ours),
                *(cell(scenario, rival) for rival in rivals),
            ]
        )
    return list(groups.values())


def goal_rows(scenarios: Mapping[str, Any]) -> list[list[str]]:
    """The goals, what was reached, and whether that is enough."""
    rows = [["goal", "asked", "reached", ""]]
    for goal in GOALS:
        if goal.scenario not in scenarios:
            continue
        reached, met = goal.reached(scenarios), goal.met(scenarios)
        rows.append(
            [
                scenarios[goal.scenario]["title"],
                goal.text(),
                "-" if reached is None else short(reached) + (" x" if goal.rival else ""),
                {True: "met", False: "missed", None: "not measured"}[met],
            ]
        )
    return rows


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text; all but the first two stand to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if index < 2 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same as a Markdown table."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    rule = "|" + "|".join(["---", "---", *["---:"] * (len(rows[0]) - 2)]) + "|"
    return "\n".join([head, rule, *body])


def errors(scenarios: Mapping[str, Any]) -> list[str]:
    """Every contender that failed, with the reason."""
    return [
        f"{scenario['title']}, {contender}: {entry['error']}"
        for scenario in scenarios.values()
        for contender, entry in scenario["contenders"].items()
        if entry["error"]
    ]


def terminal(result: Mapping[str, Any]) -> str:
    """The whole result as text."""
    scenarios = result["scenarios"]
    parts = [
        head(result["machine"], result["plan"]),
        *(plain(rows) for rows in tables(scenarios)),
        plain(goal_rows(scenarios)),
    ]
    parts.append(NOTE)
    if failed := errors(scenarios):
        parts.append("\n".join(["Not measured:", *failed]))
    return "\n\n".join(parts)


def head(machine: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """One line on where the figures come from."""
    return (
        f"{machine['python']}{' free-threaded' if machine['free_threaded'] else ''}, "
        f"{machine['cores']} cores of {machine['processor']}, {machine['system']}, "
        f"commit {machine['commit']}, {machine['date'][:10]}, {plan['name']} run"
    )


def readme_section(result: Mapping[str, Any]) -> str:
    """What stands between the marks in the README."""
    parts = [
        f"Measured by `make bench`: {head(result['machine'], result['plan'])}. Medians. {NOTE}",
        *(markdown(rows) for rows in tables(result["scenarios"])),
    ]
    return "\n\n".join([BEGIN, *parts, END])


def main() -> None:
    """Write the latest result into the README."""
    result = json.loads(LATEST.read_text())
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(before + readme_section(result) + after)


if __name__ == "__main__":
    main()
