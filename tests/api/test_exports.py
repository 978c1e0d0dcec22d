"""The public names: all there, each at home in exactly one module, and cheap to import."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import atoll
from atoll import _errors

PUBLIC_MODULES = [
    module.name
    for module in pkgutil.iter_modules(atoll.__path__)
    if not module.name.startswith("_") and not module.ispkg
]


def test_every_public_name_is_there() -> None:
    for name in atoll.__all__:
        assert getattr(atoll, name) is not None


def test_no_public_name_is_listed_twice() -> None:
    assert len(atoll.__all__) == len(set(atoll.__all__))


def test_dir_shows_every_public_name() -> None:
    assert set(atoll.__all__) <= set(dir(atoll))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'atoll' has no attribute 'chanel'"):
        _ = atoll.chanel


@pytest.mark.parametrize("name", atoll.__all__)
def test_a_name_is_exported_by_exactly_one_module_below_the_root(name: str) -> None:
    homes = []
    for module_name in [*PUBLIC_MODULES, "_errors"]:
        module = importlib.import_module(f"atoll.{module_name}")
        if name in getattr(module, "__all__", ()):
            homes.append(module_name)
            assert getattr(module, name) is getattr(atoll, name)
    assert len(homes) == 1, homes


@pytest.mark.parametrize("module_name", PUBLIC_MODULES)
def test_what_a_module_exports_the_root_exports_too(module_name: str) -> None:
    module = importlib.import_module(f"atoll.{module_name}")
    assert set(getattr(module, "__all__", ())) <= set(atoll.__all__)


def test_every_error_is_an_atoll_error_with_a_code_of_its_own() -> None:
    errors = [getattr(_errors, name) for name in _errors.__all__]
    codes = [error.code for error in errors]
    assert len(set(codes)) == len(codes)
    for error in errors:
        if error is not atoll.Cancellation:
            assert issubclass(error, atoll.AtollError)
            assert issubclass(error, Exception)
    assert not issubclass(atoll.Cancellation, Exception)


@pytest.mark.parametrize("name", atoll.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(atoll, name))


@pytest.mark.parametrize("kind", [atoll.Channel, atoll.Sender, atoll.Receiver, atoll.SendCase, atoll.AfterCase])
def test_every_native_method_is_documented_and_has_a_signature(kind: type) -> None:
    assert kind.__module__ == "atoll"
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        assert member.__doc__, name
        if callable(member):
            assert inspect.signature(member), name


def test_importing_atoll_leaves_the_heavy_modules_alone() -> None:
    heavy = {
        "asyncio",
        "cloudpickle",
        "concurrent.futures",
        "dataclasses",
        "inspect",
        "logging",
        "multiprocessing",
        "tqdm",
    }
    script = f"import sys; before = set(sys.modules); import atoll; print(*(({heavy!r} & set(sys.modules)) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
