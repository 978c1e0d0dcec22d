"""The import that `atoll doctor` tries inside an interpreter. Its text is run there, so it stands on its own."""


def attempt(imports: list[str], compiled: list[str]) -> None:
    """Import *imports*; and if that loaded none of the *compiled* modules, since many are loaded lazily, some of them.

    Raises ImportError with a one-line reason if *imports* fail, ImportWarning with one if only *compiled* modules do:
    the package then works in part, for instance with a slow Python substitute.
    """
    import importlib
    import sys

    def reason(error: BaseException) -> str:
        """The first line that says why: of the innermost error about interpreters, else of the outermost."""
        chain, seen = [], set()
        link: BaseException | None = error
        while link is not None and id(link) not in seen:
            seen.add(id(link))
            chain.append(link)
            link = link.__cause__ or link.__context__
        told = next((one for one in reversed(chain) if "interpreter" in str(one).lower()), error)
        lines = [line.strip() for line in str(told).splitlines() if line.strip()]
        if told is error and len(lines) > 1:  # numpy's is a page of advice; the reason is after this
            lines = [line for line in lines if line.lower().startswith("original error")] or lines
        text = lines[0] if lines else ""
        return text if isinstance(told, ImportError) and text else f"{type(told).__name__}: {text}".rstrip(": ")

    try:
        for name in imports:
            importlib.import_module(name)
    except BaseException as error:
        raise ImportError(reason(error)) from None
    if not compiled or any(name in sys.modules for name in compiled):
        return

    problems = []
    loaded = False
    for name in compiled[:8]:
        try:
            importlib.import_module(name)
            loaded = True
        except BaseException as error:
            problems.append(reason(error))
    refused = [problem for problem in problems if "interpreter" in problem.lower()]
    if refused or (problems and not loaded):
        raise ImportWarning((refused or problems)[0]) from None


def probe(kind: str, source: str, imports: list[str], compiled: list[str], root: str, timeout: float) -> None:
    """What the child process does: `attempt` in a host of *kind*, with *source*, the text of this file.

    Writes the outcome to stdout, which nothing else may use, as JSON. The kernel ends the process after *timeout*
    seconds (SIGALRM), whatever it is stuck in.
    """
    import json
    import os
    import resource
    import signal
    import sys
    import time

    signal.setitimer(signal.ITIMER_REAL, timeout)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    report = os.dup(1)
    os.dup2(2, 1)  # what imports print is no part of the outcome
    if root not in sys.path:
        sys.path.append(root)

    status, reason = "yes", ""
    began = time.perf_counter()
    host = None
    try:
        if kind == "main":
            attempt(imports, compiled)
        else:
            import atoll

            try:
                host = atoll.Interpreter(kind=kind)
            except atoll.HostUnavailable as error:
                raise LookupError(str(error)) from None
            began = time.perf_counter()
            host.prepare_main(imports=imports, compiled=compiled)
            host.exec(f"{source}\nattempt(imports, compiled)")
    except ImportWarning as error:
        status, reason = "partly", str(error)
    except LookupError as error:
        status, reason = "unavailable", str(error)
    except Exception as error:
        status, reason = "no", str(error)
    seconds = time.perf_counter() - began
    os.write(report, json.dumps({"status": status, "reason": reason, "seconds": seconds}).encode())
    if host is not None:
        host.close()  # if this crashes, the exit code tells
