"""Logging records and warnings of workers, delivered to the handlers and filters of the pool's interpreter.

A worker takes over the levels of the loggers and the filters of warnings as they are when it starts, so that it makes
those records which somebody wants. Records travel with the results, in order, before the result of the call that made
them. The handlers, filters and `showwarning` that get to see them are the pool's interpreter's.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs every new interpreter 2 ms
    from importlib.machinery import ModuleSpec
    from typing import Any

RECORD, WARNING = range(2)

_PLAIN = (str, int, float, bool, type(None))


def settings() -> dict[str, Any]:
    """What workers have to know: levels of loggers, filters of warnings."""
    import warnings

    levels: dict[str, int] = {}
    disabled = 0
    if (logging := sys.modules.get("logging")) is not None:
        levels[""] = logging.root.level
        disabled = logging.root.manager.disable
        for name, logger in list(logging.root.manager.loggerDict.items()):
            if isinstance(logger, logging.Logger) and logger.level:
                levels[name] = logger.level
    filters = []
    for action, message, category, module, line in warnings.filters:
        texts = [getattr(pattern, "pattern", pattern) for pattern in (message, module)]
        if isinstance(category, type) and category.__module__ == "builtins":
            filters.append((action, texts[0], category.__name__, texts[1], line))
    return {"levels": levels, "disabled": disabled, "filters": filters}


# In the worker ---------------------------------------------------------------------------------------------------


def redirect(settings: dict[str, Any], results: Any, worker: int) -> None:
    """Send what is logged and warned of in this interpreter to the pool."""
    from .worker import REPORT

    def send(kind: int, content: dict[str, Any]) -> None:
        results.send_nowait((worker, REPORT, (kind, content), 0))

    _redirect_warnings(settings["filters"], send)
    if "logging" in sys.modules:
        _redirect_logging(settings, send)
    else:
        sys.meta_path.insert(0, _WhenImported(settings, send))


class _WhenImported:
    """Redirects logging once somebody imports it: most workers never do, and it costs them milliseconds."""

    def __init__(self, settings: dict[str, Any], send: Any) -> None:
        self._settings = settings
        self._send = send

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "logging":
            return None
        from importlib.machinery import PathFinder

        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_redirect(module: Any) -> None:
                execute(module)
                _redirect_logging(self._settings, self._send)

            setattr(spec.loader, "exec_module", execute_and_redirect)  # noqa: B010 (a method, to type checkers)
        return spec


def _redirect_logging(settings: dict[str, Any], send: Any) -> None:
    import logging

    class Forwarder(logging.Handler):
        """Sends every record to the pool's interpreter."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                content = {key: value for key, value in vars(record).items() if type(value) in _PLAIN}
                content["msg"] = record.getMessage()
                if record.exc_info and record.exc_info[1] is not None:
                    content["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
                send(RECORD, content)
            except Exception:
                self.handleError(record)

    logging.root.addHandler(Forwarder())
    logging.disable(settings["disabled"])
    for name, level in settings["levels"].items():
        logging.getLogger(name or None).setLevel(level)


def _redirect_warnings(filters: list[tuple[Any, ...]], send: Any) -> None:
    import builtins
    import re
    import warnings

    def showwarning(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        if file is not None:
            file.write(warnings.formatwarning(message, category, filename, lineno, line))
            return
        name = next(base for base in category.__mro__ if base.__module__ == "builtins").__name__
        own = "" if name == category.__name__ else f"{category.__name__}: "
        content = {"text": f"{own}{message}", "category": name, "filename": filename, "lineno": lineno, "line": line}
        send(WARNING, content)

    warnings.showwarning = showwarning

    def compiled(pattern: str | None, flags: int = 0) -> Any:
        return pattern and re.compile(pattern, flags)

    own: Any = warnings.filters
    own[:] = [
        (action, compiled(message, re.IGNORECASE), getattr(builtins, category), compiled(module), line)
        for action, message, category, module, line in filters
    ]
    with warnings.catch_warnings():  # entering it tells Python's C side that the filters have changed
        pass


# In the pool's interpreter ---------------------------------------------------------------------------------------


def deliver(report: tuple[int, dict[str, Any]]) -> None:
    """Show one record or warning to whoever listens here."""
    kind, content = report
    if kind == RECORD:
        import logging

        record = logging.makeLogRecord(content)
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
        return
    import builtins
    import warnings

    category = getattr(builtins, content["category"])
    text = category(content["text"])
    try:
        warnings.showwarning(text, category, content["filename"], content["lineno"], None, content["line"])
    except Exception as error:
        print(f"atoll: cannot show a worker's warning {text!r} ({error!r})", file=sys.stderr)
