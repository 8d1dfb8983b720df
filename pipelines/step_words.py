"""The steps of a run in plain words, for terminal and report; logs for machines keep the names.

A stage goes by the name that its recipe gives it.
"""

from __future__ import annotations

WORDS = {
    "check": "look at files",
    "diff": "compare runs",
    "explain": "look up",
    "facts": "export facts",
    "minhash": "compute signatures",
    "verify": "read every file",
    "plan": "try a sample",
    "start": "start workers",
    "freeze": "list inputs",
    "annotate": "read and judge",
    "lineage": "trace survivors",
    "holdout": "hold out groups",
    "tally": "count outcomes",
    "cells": "count cells",
    "copies": "number copies",
    "ledger": "write ledger",
    "similarity": "compare hold-out",
    "materialize": "write mix",
    "dropped": "write dropped",
    "card": "write card",
    "audit": "measure precision",
    "report": "write report",
    "stop": "stop workers",
}


def step_words(name: str) -> str:
    """Return the words for a step; what follows its name (of one of several mixes) stays.

    Examples
    --------
    >>> step_words("materialize anneal"), step_words("near_dedup")
    ('write mix anneal', 'near_dedup')
    """
    step, blank, rest = name.partition(" ")
    return WORDS.get(step, step) + blank + rest
