"""Inside of `atoll.pool`.

The pool's side: `core` has the workers, which `builder` starts, `queue` the calls that wait, `client` calls and their
results, `future` and `map` what those who submit hold, `reports` logging and warnings. In the workers: `worker`.
Between them: `context` for context variables, `nested` for pools that tasks were given.
"""
