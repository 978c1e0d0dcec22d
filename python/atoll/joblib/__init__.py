"""A backend for joblib, and so for scikit-learn's `n_jobs`: importing this module registers it.

    import atoll.joblib

    with joblib.parallel_config(backend="atoll"):
        search.fit(X, y)

`docs/guide/joblib.md` is the guide.
"""

from __future__ import annotations

try:
    from joblib import register_parallel_backend
except ImportError as error:
    raise ImportError(
        "cannot register a backend with joblib (it is not installed); pip install 'atoll[joblib]'", name="joblib"
    ) from error

from ._backend import AtollBackend
from ._workers import shutdown

__all__ = ["AtollBackend", "shutdown"]

register_parallel_backend("atoll", AtollBackend)
