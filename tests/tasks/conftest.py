"""Everything here holds on every kind of host, unless a test names its own."""

from tests.kinds import kind

__all__ = ["kind"]
