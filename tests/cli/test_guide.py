"""The guide's page on the command line names every command and every option."""

import re
from pathlib import Path

import pytest
from tests.cli.commands import atoll

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "command-line.md").read_text()


@pytest.mark.parametrize("command", ["run", "demo", "doctor"])
def test_the_guide_names_every_option_of(command: str) -> None:
    section = GUIDE.partition(f"\n## atoll {command}")[2].partition("\n## ")[0]
    options = set(re.findall(r"(?<![\w-])--[a-z]+", atoll(command, "--help").stdout)) - {"--help"}

    assert options
    assert [option for option in sorted(options) if f"`{option}" not in section] == []


def test_the_guide_has_a_section_for_every_command() -> None:
    listed = re.findall(r"^    (\w+)  ", atoll("--help").stdout, re.MULTILINE)

    assert listed
    assert re.findall(r"^## atoll (\w+)", GUIDE, re.MULTILINE) == listed
