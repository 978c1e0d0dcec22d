"""Print the requirements of one extra of pyproject.toml, one a line."""

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def main() -> None:
    """Print what the extra named on the command line asks for."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    print("\n".join(project["optional-dependencies"][sys.argv[1]]))


if __name__ == "__main__":
    main()
