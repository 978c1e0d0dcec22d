"""Estimators and functions of a notebook's cells work with the backend, in a real Jupyter kernel."""

from __future__ import annotations

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebooks`")
pytest.importorskip("ipykernel", reason="needs the extra `notebooks`")
nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebooks`")
pytest.importorskip("sklearn")

# What Jupyter's own packages warn of is not ours to mend.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

CELLS = (
    """
import atoll.joblib, joblib, numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import cross_val_score

class Constant(ClassifierMixin, BaseEstimator):
    answer = 0
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self
    def predict(self, X):
        return np.full(len(X), self.answer)

X, y = np.zeros((40, 2)), np.array([0, 0, 0, 1] * 10)

def scores():
    with joblib.parallel_config(backend="atoll", n_jobs=2):
        return cross_val_score(Constant(), X, y, cv=2).tolist()
""",
    "print(scores())",
    "Constant.answer = 1",
    "print(scores())",
)


def test_estimators_of_cells_work_and_may_be_changed(backend: str) -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    nbclient.NotebookClient(book, timeout=60, kernel_name="python3").execute()
    printed = ["".join(output.get("text", "") for output in cell.outputs).strip() for cell in book.cells]
    assert (printed[1], printed[3]) == ("[0.75, 0.75]", "[0.25, 0.25]")
