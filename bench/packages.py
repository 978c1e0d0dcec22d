"""The packages of the list: which are here, and which of them work in hosts of a kind."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

MODULES = {
    "numpy": "numpy",
    "pandas": "pandas",
    "pydantic": "pydantic",
    "orjson": "orjson",
    "polars": "polars",
    "pyarrow": "pyarrow",
    "scipy": "scipy",
    "scikit-learn": "sklearn",
    "lxml": "lxml",
    "Pillow": "PIL",
    "cryptography": "cryptography",
    "msgspec": "msgspec",
    "SQLAlchemy": "sqlalchemy",
    "matplotlib": "matplotlib",
}
"""The list, with the names by which they are imported."""

HOSTS = 4
SIDE_BY_SIDE = Path(__file__).parent.parent / "tests" / "isolates" / "side_by_side.py"


def installed() -> list[str]:
    """Those of the list that are here."""
    return [name for name, module in MODULES.items() if find_spec(module) is not None]


def working(kind: str) -> list[str]:
    """Those that do real work in four hosts of this *kind* at once, with the same results as here."""
    names = installed()
    if not names:
        raise RuntimeError("none of the packages is installed; pip install 'atoll[packages]'")
    return [name for name in names if works(name, kind)]


def works(name: str, kind: str) -> bool:
    """Whether one does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.isolates.side_by_side", "--kind", kind, name],
        cwd=SIDE_BY_SIDE.parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode == 0 and json.loads(done.stdout)["wrong"] == []
