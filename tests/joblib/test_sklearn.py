"""scikit-learn's `n_jobs` on isolates: the same results as with one job, and as with processes."""

# ruff: noqa: N803, N806 (scikit-learn's own names)

from __future__ import annotations

from typing import Any

import pytest

joblib = pytest.importorskip("joblib")
pytest.importorskip("sklearn")
import numpy as np  # noqa: E402
from joblib import parallel_config  # noqa: E402
from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: E402
from sklearn.datasets import make_classification  # noqa: E402
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, RandomForestRegressor  # noqa: E402
from sklearn.feature_selection import RFECV  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, permutation_test_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVC  # noqa: E402

# Importing scikit-learn in two isolates and two processes takes seconds.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default::DeprecationWarning")]


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    """Enough that the array is shared."""
    return make_classification(n_samples=2000, n_features=80, n_informative=10, random_state=0)


def test_a_grid_search_finds_what_it_finds_with_processes(backend: str, data: tuple[Any, Any]) -> None:
    X, y = data
    pipeline = make_pipeline(StandardScaler(), SVC(gamma="scale"))

    def search(name: str) -> Any:
        with parallel_config(backend=name, n_jobs=2):
            return GridSearchCV(pipeline, {"svc__C": [0.1, 1.0]}, cv=3, return_train_score=True).fit(X[:600], y[:600])

    ours, theirs = search(backend), search("loky")
    for score in ("mean_test_score", "mean_train_score", "split0_test_score"):
        assert ours.cv_results_[score].tolist() == theirs.cv_results_[score].tolist()
    assert ours.best_params_ == theirs.best_params_
    assert (ours.predict(X[600:]) == theirs.predict(X[600:])).all()


@pytest.mark.parametrize("forest", [RandomForestClassifier, RandomForestRegressor])
def test_a_random_forest_grows_and_predicts_the_same(backend: str, data: tuple[Any, Any], forest: Any) -> None:
    X, y = data
    alone = forest(n_estimators=12, random_state=3, n_jobs=1).fit(X, y)
    with parallel_config(backend=backend, n_jobs=2):
        together = forest(n_estimators=12, random_state=3).fit(X, y)
        assert (together.predict(X) == alone.predict(X)).all()
    assert (together.feature_importances_ == alone.feature_importances_).all()


def test_cross_validation_scores_are_the_same(backend: str, data: tuple[Any, Any]) -> None:
    X, y = data
    model = LogisticRegression(max_iter=200)
    alone = cross_val_score(model, X, y, cv=4, n_jobs=1)
    with parallel_config(backend=backend):
        assert cross_val_score(model, X, y, cv=4, n_jobs=2).tolist() == alone.tolist()
        predicted = cross_val_predict(model, X, y, cv=4, n_jobs=2)
    assert (predicted == cross_val_predict(model, X, y, cv=4)).all()


def test_other_estimators_work(backend: str, data: tuple[Any, Any]) -> None:
    X, y = data[0][:300, :12], data[1][:300]
    model = LogisticRegression(max_iter=100)
    bagging = BaggingClassifier(model, n_estimators=4, random_state=0)
    alone = bagging.fit(X, y).predict(X)
    with parallel_config(backend=backend, n_jobs=2):
        assert (bagging.fit(X, y).predict(X) == alone).all()
        assert RFECV(model, cv=3).fit(X, y).n_features_ == RFECV(model, cv=3, n_jobs=1).fit(X, y).n_features_
        score, _, _ = permutation_test_score(model, X, y, n_permutations=5, random_state=0)
    assert score == permutation_test_score(model, X, y, n_permutations=5, random_state=0, n_jobs=1)[0]


def test_an_estimator_of_a_script_works(backend: str) -> None:
    class Majority(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:
            self.classes_, counts = np.unique(y, return_counts=True)
            self.choice_ = self.classes_[counts.argmax()]
            return self

        def predict(self, X: Any) -> Any:
            return np.full(len(X), self.choice_)

    X, y = np.zeros((60, 2)), np.array([0, 1, 1] * 20)
    alone = cross_val_score(Majority(), X, y, cv=3)
    with parallel_config(backend=backend, n_jobs=2):
        assert cross_val_score(Majority(), X, y, cv=3).tolist() == alone.tolist()


def test_the_configuration_of_scikit_learn_travels_along(backend: str) -> None:
    import sklearn
    from sklearn.utils.parallel import Parallel, delayed

    def assumes_finite() -> bool:
        return bool(sklearn.get_config()["assume_finite"])

    with parallel_config(backend=backend, n_jobs=2), sklearn.config_context(assume_finite=True):
        assert Parallel()(delayed(assumes_finite)() for _ in range(2)) == [True, True]
