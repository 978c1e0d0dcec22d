"""Interfaces of the standard library, on Atoll.

    interpreters      `concurrent.interpreters` (PEP 734), and PEP 554's channels     interpreters.py
    channels          those channels as a module of their own                        channels.py
    futures           `concurrent.futures.InterpreterPoolExecutor`                   futures.py

Change the import, nothing else: `from atoll.compat import interpreters`.
"""
