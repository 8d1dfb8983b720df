"""Shell words that find, on the cluster, the Python which has what winnow needs, and say so where there is none.

A job starts in the shell of a Ray node. `python` there need not be the interpreter that Ray was installed for, nor one
that exists. Tried in turn: the one that was asked for; or python, python3, the interpreter of this machine (nodes often
share an image), and the one that runs Ray's own process above the shell.
"""

from __future__ import annotations

import shlex
import sys

NEEDED = ("ray", "distributed", "numba", "pyarrow", "typer", "pydantic")
MISSING = 3  # exit code of a job that found no Python


def finding(python: str | None) -> str:
    """Return a shell command that sets PYTHON to an interpreter with all of NEEDED, or ends the job with a message."""
    given = [python] if python else ["python", "python3", sys.executable]
    words = " ".join(shlex.quote(name) for name in given)
    above = "" if python else ' "$(readlink -f /proc/$PPID/exe 2>/dev/null)"'
    probe = shlex.quote("import importlib.util as u, sys; sys.exit(any(u.find_spec(n) is None for n in sys.argv[1:]))")
    tried = shlex.quote(", ".join(given))
    return (
        f"PYTHON=; for p in {words}{above}; do "
        f'if command -v "$p" >/dev/null 2>&1 && "$p" -P -c {probe} {" ".join(NEEDED)} 2>/dev/null; '
        f'then PYTHON="$p"; break; fi; done; '
        f'if [ -z "$PYTHON" ]; then echo "winnow: no Python on $(hostname) has what winnow needs (tried "{tried}"): "'
        f'"install it there (pip install winnow-mix[ray]), or name its Python with --python" >&2; exit {MISSING}; fi; '
        f'echo "winnow runs with $(command -v "$PYTHON")" >&2; '
    )
