"""The bench tells goals kept from goals missed, and cuts off a contender that hangs."""

import time

import pytest
from bench.goals import GOALS, Goal, ratio
from bench.report import BEGIN, END, goal_rows, readme_section, short, terminal
from bench.run import Plan, Result, document, measure
from bench.scenarios import SCENARIOS
from bench.scenarios.scenario import Scenario, rate

MACHINE = {
    "python": "CPython 3.14.0",
    "free_threaded": False,
    "cores": 2,
    "processor": "a processor",
    "system": "Linux",
    "commit": "0123456789ab",
    "date": "2026-11-20T12:00:00+00:00",
}
PLAN = Plan("full", rounds=1, seconds=0.01, cut_off=1, budget=1)


def results(**figures: dict[str, float]) -> dict[str, object]:
    """A written result with these figures by scenario and contender."""
    return {
        "machine": MACHINE,
        **document(
            PLAN,
            {
                name: {contender: Result([value]) for contender, value in contenders.items()}
                for name, contenders in figures.items()
            },
        ),
    }


def test_every_goal_names_a_scenario_and_a_rival_that_are_measured() -> None:
    for goal in GOALS:
        assert goal.scenario in SCENARIOS
        if goal.rival != "InterpreterPool":  # from CPython 3.14 on
            assert not goal.rival or goal.rival in SCENARIOS[goal.scenario].contenders


def test_a_ratio_above_one_means_that_atoll_is_better_whatever_the_unit() -> None:
    written = results(stream_int={"atoll": 20e6, "mp.Queue": 1e6}, trip_hot={"atoll": 2.0, "mp.Queue": 50.0})

    assert ratio(written["scenarios"]["stream_int"], "mp.Queue") == 20
    assert ratio(written["scenarios"]["trip_hot"], "mp.Queue") == 25


def test_goals_are_met_missed_or_not_measured() -> None:
    written = results(
        stream_int={"atoll": 20e6, "mp.Queue": 1e6, "interpreters.Queue": 1e6},
        trip_hot={"atoll": 2.0},
    )["scenarios"]

    assert Goal("stream_int", 10, "interpreters.Queue").met(written) is True
    assert Goal("stream_int", 25, "mp.Queue").met(written) is False
    assert Goal("trip_hot", 3).met(written) is True
    assert Goal("trip_hot", 1000, "interpreters.Queue").met(written) is None
    assert [row[-1] for row in goal_rows(written)] == ["", "met", "missed", "met", "not measured"]


def test_tables_name_the_machine_the_figures_and_the_failures() -> None:
    written = results(stream_int={"atoll": 15.7e6, "mp.Queue": 0.4e6})
    written["scenarios"]["stream_int"]["contenders"]["mp.Queue"].update(figure=None, error="hung: cut off after 60 s")

    text = terminal(written)

    assert "a processor" in text
    assert "15.7 M" in text
    assert "ints, one by one, mp.Queue: hung: cut off after 60 s" in text
    section = readme_section(written)
    assert section.startswith(BEGIN)
    assert section.endswith(END)


def test_figures_keep_three_digits() -> None:
    assert [short(value) for value in (0.123456, 12.3456, 1234.0, 15_712_000.0)] == [
        "0.123",
        "12.3",
        "1.23 k",
        "15.7 M",
    ]


def test_a_contender_that_hangs_is_cut_off_and_one_that_fails_says_why() -> None:
    idle = SCENARIOS["idle"]  # waits for longer than the plan allows

    began = time.monotonic()
    assert measure(idle, "threads", PLAN) == "hung: cut off after 1 s"
    assert time.monotonic() - began < 10
    assert str(measure(idle, "nobody", PLAN)).startswith("failed: KeyError")


def test_a_rate_is_taken_from_a_count_that_lasts_long_enough() -> None:
    counts: list[int] = []

    def taking(count: int) -> float:
        counts.append(count)
        return count / 1000

    assert rate(taking, 1.0, 10, 1 << 20) == pytest.approx(1000)
    assert counts[-1] >= 1000


def test_scenarios_have_atoll_or_its_isolates_as_their_first_contender() -> None:
    scenarios: list[Scenario] = list(SCENARIOS.values())

    assert {next(iter(scenario.contenders)) for scenario in scenarios} <= {"atoll", "isolate", "2 isolates"}
