"""A report in which every name and text is one text, for pages and schemas."""

from __future__ import annotations

from typing import Any

from pipelines.shown_text import word_diff


def minimal_report(text: str) -> Any:
    """Return a report in which every name and text is `text`."""
    one = {"documents": 1, "tokens": 1}
    step = {"stage": text, "applies": True, "before": one, "dropped": {text: one}, "after": one}
    funnel = {"rows": one, "stages": [step], "kept": one, "mix": {**one, "copies": 1}}
    card = dict.fromkeys(("doc_id", "row", "tokens", "chars"), 1)
    card |= dict.fromkeys(("dataset", "path", "id", "url", "text"), text)
    dataset = dict.fromkeys(("name", "licence", "preset", "role"), text)
    dataset |= dict.fromkeys(("priority", "shards", "rows", "bytes"), 1)
    difference = word_diff(text, text + " x").as_tree()
    pair = {"stage": text, "dropped": card, "kept": card, "similarity": 0.5, "similarity_kind": text, "threshold": 0.5}
    mix = {**one, "copies": 1, "share": 1.0, "weight_share": None, "available": one, "epochs": 1.0, "files": 1}
    mix |= {"target_tokens": 1, "shortfall_tokens": 1, "rows": 1, "bytes": 1, "holdout_documents": 0, "max_epochs": 1}
    mix |= {"over_target_tokens": 0, "holdout_tokens": 0}
    lengths = {"read": [1], "kept": [1], "quantiles_read": [1, 1, 1], "quantiles_kept": [1, 1, None]}
    share = {"estimate": 1.0, "low": 0.5, "high": 1.0}
    sampled = {"seeds": 10, "seeds_sampled": 9, "pairs_of_sampled": 123456}
    accuracy = {"threshold": 0.8, "removed": 1, "sampled": 1, "precision": share, "recall": {**share, "left_over": 1.0}}
    accuracy["sampled_kept"] = sampled
    matrix = {"documents": [[1]], "tokens": [[1]]}
    time = {"name": text, "seconds": 1.0, "documents": 1, "bytes": 1, "peak_memory_bytes": 1}
    time |= {"documents_per_second": 1.0, "bytes_per_second": 1.0}
    return {
        "format": 1,
        "name": text,
        "tokens_are": text,
        "digests": {"recipe": text, "inputs": text},
        "passed_over": {},
        "recipe": text,
        "stages": [{"name": text, "use": text, "digest": text, "datasets": [text], "parameters": {text: text}}],
        "datasets": [dataset],
        "funnel": {text: funnel},
        "total": funnel,
        "overlap": {"datasets": [text], "all": matrix, "stages": {text: matrix}, "shared_groups": []},
        "dedup": [],
        "groups": {
            "sizes": [{"from": 1, "to": 1, "groups": 1, "documents": 1}],
            "largest": [{**card, "group_size": 1, "group_datasets": {text: 1}, "members": [card]}],
        },
        "scores": [],
        "languages": [
            {
                "stage": text,
                "languages": 1,
                "wanted": [text],
                "judged": one,
                "unwanted": one,
                "scores": None,
                "rows": [{"language": text, "kept": one, "dropped": one, "datasets": {text: 1}}],
            }
        ],
        "scores_from": "facts",
        "lengths": {"edges": [0, 2], "datasets": {text: lengths}},
        "accuracy": {"pairs": 1, "seed": 42, "stages": {text: accuracy}},
        "mix": {"mode": text, "target_tokens": None, **one, "datasets": {text: mix}, "cells": []},
        "samples": [
            {
                "stage": text,
                "reason": text,
                "dataset": None,
                "of": 1,
                "documents": [{**card, "value": 0.5, "threshold": None, "decided": text}],
            }
        ],
        "pairs": [{**pair, "difference": difference}, {**pair, "difference": None}],
        "warnings": [text],
        "stale": [{"what": text, "why": text, "command": text}],
        "figures": {},
        "quarantine": {"problems": 1, "first": [{"path": text, "row": 1, "byte_offset": None, "error": text}]},
        "timings": {"workers": 1, "stages": [{**time, "parts": [time]}]},
    }
