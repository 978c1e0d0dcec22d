"""Structured clone: the copy of an object that another interpreter gets. Native; its documentation is its own."""

from ._native import clone

__all__ = ["clone"]
