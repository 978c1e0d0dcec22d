"""Every Python snippet of the README and of the guide runs, and prints what its `# → …` comments say.

The snippets of one page are one program, run from a file: what a page defines above is there below.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMISE = re.compile(r"# → (.*)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_snippets_print_what_their_comments_say(page: Path, tmp_path: Path) -> None:
    program = "\n".join(SNIPPET.findall(page.read_text()))
    script = tmp_path / "snippets.py"
    script.write_text(program)

    done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [promise.strip() for promise in PROMISE.findall(program)]


def test_the_tour_of_the_readme_is_at_most_thirty_lines_of_code() -> None:
    tour = (ROOT / "README.md").read_text().partition("## A tour")[2].partition("\n## ")[0]

    lines = [line for snippet in SNIPPET.findall(tour) for line in snippet.splitlines() if line.strip()]

    assert 0 < len(lines) <= 30


def test_links_between_the_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")]

    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert broken == []
