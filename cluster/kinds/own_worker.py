"""Preload of worker processes on this machine: what winnow's own process does at its start, they do too.

Guarantees: a worker that a user starts is left as it is.
"""

from __future__ import annotations

from cluster.startup import collect_garbage_seldom, skip_optional_imports

collect_garbage_seldom()
skip_optional_imports()
