"""Every shard stage that comes with winnow, and those that its exchange stages bring along, pass `StageSuite`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from classifiers import models
from cluster.errors import RecipeError
from stages.base import ShardStage
from stages.pii import Pii
from stages.registry import STAGES, stage_class
from stages.testing import StageSuite, sample_documents
from tests.support.chat_server import ChatServer, Request, Say, completion, hashed_score
from tests.support.ngram_models import arpa

FILTER = "tests.stages.test_every_shard_stage:Longer"


class Longer:
    """A filter with the two methods of NeMo Curator's."""

    def __init__(self, least: int = 10) -> None:
        self.least = least

    def score_document(self, text: str) -> float:
        return len(text)

    def keep_document(self, scores: float) -> bool:
        return scores >= self.least


def language_id(folder: Path) -> dict[str, Any]:
    try:
        models.resolve("fasttext:lid.176.ftz")
    except RecipeError as error:
        pytest.skip(str(error))
    return {"languages": ("en",), "min_score": 0.4, "segment_chars": 500, "min_share": 0.5}


def url_rules(folder: Path) -> dict[str, Any]:
    (folder / "domains.txt").write_text("example.com\n")
    (folder / "words.txt").write_text("a-b\n")
    return {"domains": (str(folder / "domains.txt"),), "words": (str(folder / "words.txt"),)}


def bad_words(folder: Path) -> dict[str, Any]:
    (folder / "bad.txt").write_text("the\n")
    return {"words": (str(folder / "bad.txt"),)}


def decontaminate(folder: Path) -> dict[str, Any]:
    items = ["The library lends books to everybody who lives in the town, and to guests for a week."]
    (folder / "quiz.jsonl").write_text("".join(json.dumps({"text": item}) + "\n" for item in items))
    return {"benchmarks": (str(folder / "quiz.jsonl"),), "ngram": 8}


def perplexity(folder: Path) -> dict[str, Any]:
    pytest.importorskip("kenlm")
    return {"models": (f"en={arpa(folder / 'en.arpa')}",), "language": "en", "max_perplexity": 100.0}


def llm_judge(folder: Path) -> dict[str, Any]:
    server = answering()
    return {"base_urls": (server.url,), "models": ("m",), "prompt": "safety", "backoff": 0.0, "min_score": 2.0}


@functools.cache
def answering() -> ChatServer:
    """Return a server that runs until the tests end; what it says depends on the request alone."""

    def script(request: Request, before: int) -> Say:
        label = ("safe", "hate", "crime")[hashed_score(request, 2)]
        return completion(f'{{"reason": "r", "score": {hashed_score(request)}, "label": "{label}"}}')

    return ChatServer(script).__enter__()


# Parameters by recipe key: every shard stage is here, and every exchange stage that brings shard stages along.
PARAMETERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "language_id": language_id,
    "minhash": lambda folder: {"shingle_width": 5, "num_permutations": 16},
    "heuristics": lambda folder: {"presets": ("gopher", "fineweb", "c4")},
    "line_rules": lambda folder: {"rules": ("c4",), "max_removed": 0.5},
    "document_filter": lambda folder: {"filter": FILTER, "arguments": ("least=20",)},
    "quality": lambda folder: {"model": "column:score", "min_score": 2.0},
    "label": lambda folder: {"model": "column:score", "drop_labels": ("2",)},
    "perplexity": perplexity,
    "pii": lambda folder: {"max_found": 3},
    "url_rules": url_rules,
    "bad_words": bad_words,
    "repair": lambda folder: {},
    "decontaminate": decontaminate,
    "line_dedup": lambda folder: {"min_words": 2},
    "exact_dedup": lambda folder: {"normalise": "digits"},
    "semantic_dedup": lambda folder: {"model": "column:vector"},
    "llm_judge": llm_judge,
}
WITHOUT = ("attributes", "near_dedup", "score_cut")  # exchange stages that work on facts of others


def test_no_stage_is_left_out() -> None:
    assert sorted([*PARAMETERS, *WITHOUT]) == sorted(STAGES)


def shard_stages(use: str, folder: Path) -> list[ShardStage]:
    made: Any = stage_class(use)(**PARAMETERS[use](folder))
    return [stage for stage in (made, *made.companions()) if isinstance(stage, ShardStage)]


class TestEveryShardStage(StageSuite):
    @pytest.fixture(autouse=True, params=sorted(PARAMETERS))
    def chosen(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        [self.stage] = shard_stages(request.param, tmp_path)

    def documents(self) -> pa.Table:
        made = sample_documents(self.stage.columns())
        if made.column_names != ["column:vector"]:
            return made
        vectors = [None if row % 7 == 6 else [1.0 + row, 2.0, -0.5] for row in range(made.num_rows)]
        return pa.table({"column:vector": pa.array(vectors, pa.list_(pa.float64()))})

    def other_values(self) -> dict[str, Any]:
        values = super().other_values()
        if isinstance(self.stage, Pii):
            del values["detector"]  # the other one is an extra
        return values
