"""A chain of Dataflow jobs without a server that waits: a Cloud Function starts each step when those before it succeed.

    python -m orchestration.chain check FILE      every mistake of a chain file
    python -m orchestration.chain graph FILE      its steps as a Mermaid diagram
    python -m orchestration.chain run FILE        start it and follow it, from this machine
    python -m orchestration.chain render FILE     the chain as the function reads it

This folder is the source of the function: `main.py` is its entry point, `flow/` its logic, without the rest of the
repository. `reading.py` and `__main__.py` check and render chain files and are not part of it.
"""
