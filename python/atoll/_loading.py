"""How a function that `_shipping` has packed arrives: by its name, or by the blob that its key stands for.

Every host imports this while it starts, so what only functions by value need is imported when the first of them comes.
"""

import sys
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from collections.abc import Callable, Iterable
    from typing import Any

    from . import _native

type Function = Callable[..., Any]
type End = _native.Channel[Any] | _native.Sender[Any] | _native.Receiver[Any]

_LOADED_FUNCTIONS = 256


def load(how: str, target: "Any", ends: tuple[End, ...], blob: "Callable[[], bytes | None]") -> Function:
    """Find or rebuild the function that `_shipping.pack` described; *blob* is called only when the key is new here.

    May import modules and run their code. Raises what that code raises.

        load("name", ("math", "sqrt"), (), lambda: None)(4.0)      # 2.0
    """
    if how == "name":
        module_name, qualname, *path = target
        _add_to_path(path)
        return look_up(module_name, qualname)
    key, path = (target[0], target[1:]) if type(target) is tuple else (target, ())
    _add_to_path(path)
    loaded = _loaded.get(key)
    if loaded is not None:
        return loaded
    data = blob()
    if data is None:
        raise SystemError("a function was shipped by value but its bytes did not come with it")
    from . import _rebuild

    fn: Function = _rebuild.undump(data, ends)
    if not ends:
        _keep(key, fn)
    return fn


def look_up(module_name: str, qualname: str) -> Function:
    """What an importable name means here."""
    module = sys.modules.get(module_name)
    if module is None or getattr(getattr(module, "__spec__", None), "_initializing", False):
        # Another thread may be in the middle of this import: then this waits for it, as `import` does.
        __import__(module_name)
        module = sys.modules[module_name]
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part)
    fn: Function = found
    return fn


def _add_to_path(path: "Iterable[str]") -> None:
    for entry in path:
        if entry not in sys.path:
            sys.path.append(entry)


_loaded: dict[bytes, Function] = {}
_loaded_lock = allocate_lock()


def _keep(key: bytes, fn: Function) -> None:
    with _loaded_lock:
        while len(_loaded) >= _LOADED_FUNCTIONS:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = fn


def forget() -> None:
    """Drop every function that came from elsewhere: a new session begins in this interpreter."""
    _loaded.clear()
