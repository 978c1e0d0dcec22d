"""Atoll beside its rivals on the same work, in one run: `make bench`.

`scenarios/` says what is measured, `rivals/` how each contender does it best, `run.py` runs them interleaved, each in
a process of its own that is cut off if it hangs, `goals.py` compares with what we promise, `report.py` prints.
"""
