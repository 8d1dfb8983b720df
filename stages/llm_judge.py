"""Judge: language models behind OpenAI-compatible endpoints score and label documents by a prompt.

Facts are score, label, and how the votes stood, so thresholds, cells and report treat them like any classifier's.
Always deferred: it judges what deduplication leaves, a stratified sample of that, or as much as a budget reaches.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.endpoint import prompt as prompts
from classifiers.endpoint.answers import Range
from classifiers.endpoint.ask import Manner, Reply, manner_of
from classifiers.endpoint.asker import AUTO, MODES, Asker, pairs
from classifiers.endpoint.prompt import Prompt, Verdict
from classifiers.endpoint.settings import Endpoint
from cluster.engines import Engine
from cluster.errors import RecipeError
from stages.asking import live
from stages.asking.population import Limits
from stages.asking.texts import Source, ask_texts
from stages.core.arrays import whole
from stages.core.run import StageRun
from stages.core.stage import Decisions, ShardStage, param

REASONS = ("no_score", "low_score", "high_score", "label")
MEAN, MEDIAN, MAJORITY = "mean", "median", "majority"


@dataclass(frozen=True, kw_only=True)
class LlmJudge(ShardStage):
    """Ask language models to score or label each document; keep scores within limits and wanted labels.

    Reads: text. Writes: judge_score and judge_label (all votes combined, null where there is none), judge_votes
    (answers of the asked form), judge_spread (highest score less the lowest), judge_reason (that of the first answer),
    judge_status (null, or why there is no score: not_sampled, no_budget, or how the last attempt failed). Drops, where
    the recipe sets a limit: `low_score`, `high_score`, `label` (none of `keep_labels`, or one of `drop_labels`),
    and, unless `keep_missing`, `no_score`.
    """

    use: ClassVar[str] = "llm_judge"
    summary: ClassVar[str] = "let language models behind endpoints score or label; keep what is good enough"
    asks: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("judge_score", pa.float64()),
            ("judge_label", pa.string()),
            ("judge_votes", pa.int32()),
            ("judge_spread", pa.float64()),
            ("judge_reason", pa.string()),
            ("judge_status", pa.string()),
        ]
    )

    base_urls: tuple[str, ...] = param((), "servers, such as http://localhost:8000/v1; asked in turn", guard=True)
    models: tuple[str, ...] = param((), "names of the models that judge, as the servers know them", fact=True)
    prompt: str = param("edu", "edu, instruction, safety, language_quality, or a .yaml file", fact=True)
    votes: int = param(1, "answers of each model; more than one need a temperature", fact=True, ge=1, le=64)
    combine: str = param(MEAN, "how votes become one score", fact=True, choices=(MEAN, MEDIAN, MAJORITY))
    temperature: float = param(0.0, "of sampling", fact=True, ge=0, le=2)
    max_tokens: int = param(256, "most tokens of an answer", fact=True, ge=1, le=1 << 20)
    seed: int = param(0, "of sampling answers, and of the sample of documents", fact=True, ge=0)
    structured: str = param(AUTO, "how the form of an answer is asked for", fact=True, choices=(AUTO, *MODES))
    extra: tuple[str, ...] = param((), "further members of a request, KEY=JSON; null leaves one out", fact=True)
    tries: int = param(3, "attempts at an answer that may have cost tokens", fact=True, ge=1, le=20)
    sample: int | None = param(None, "judge only so many documents, a stratified sample", fact=True, ge=1)
    sample_by: str = param("dataset", "strata of the sample", fact=True, choices=("dataset", "language", "none"))
    budget_requests: int | None = param(None, "most requests in this run folder", fact=True, ge=0)
    budget_tokens: int | None = param(None, "most tokens, of questions and answers", fact=True, ge=0)
    budget_dollars: float | None = param(None, "most dollars, by the two prices", fact=True, ge=0)
    price_input: float = param(0.0, "dollars for a million tokens of questions", fact=True, ge=0)
    price_output: float = param(0.0, "dollars for a million tokens of answers", fact=True, ge=0)
    min_score: float | None = param(None, "drop documents with a lower score")
    max_score: float | None = param(None, "drop documents with a higher score")
    keep_labels: tuple[str, ...] = param((), "keep only documents with one of these labels")
    drop_labels: tuple[str, ...] = param((), "drop documents with one of these labels")
    keep_missing: bool = param(True, "documents without a score or label stay")
    key_env: str = param("", "environment variable that holds the API key", guard=True)
    concurrency: int = param(
        64, "most requests that wait for an answer, over all workers", guard=True, ge=1, le=1 << 14
    )
    timeout: float = param(120.0, "seconds for one request", guard=True, ge=0.01)
    patience: float = param(600.0, "seconds without any answer, after which the run stops", guard=True, ge=0.01)
    backoff: float = param(1.0, "seconds that a server is first left alone after it refused", guard=True, ge=0)

    def validate(self) -> None:
        if not self.models:
            raise self.error("models", list(self.models), "the name of at least one model")
        if len(set(self.models)) < len(self.models):
            raise self.error("models", list(self.models), "different models; more answers of one are votes")
        if self.votes > 1 and not self.temperature:
            raise self.error("votes", self.votes, "1 where temperature is 0, as all votes would be alike")
        if self.min_score is not None and self.max_score is not None and self.min_score > self.max_score:
            raise self.error("min_score", self.min_score, f"at most max_score ({self.max_score})")
        if self.budget_dollars is not None and not (self.price_input or self.price_output):
            raise self.error("budget_dollars", self.budget_dollars, "given with price_input and price_output")
        try:
            pairs(self.extra)
            Endpoint(base_urls=self.base_urls, key_env=self.key_env)
        except RecipeError as error:
            raise RecipeError(f"{str(error).removesuffix('.')} (stage {self.name}).") from None
        asked = self._prompt
        if asked.plain:
            raise self.error("prompt", self.prompt, "one whose answer has a score or a label")
        labels = (*self.keep_labels, *self.drop_labels)
        if wrong := next((label for label in labels if label not in asked.labels), None):
            known = ", ".join(asked.labels) or "it has none"
            raise self.error("keep_labels", wrong, f"a label of prompt {asked.name} ({known})")
        if not asked.scale and (self.min_score is not None or self.max_score is not None):
            raise self.error("min_score", self.min_score, f"left out, as prompt {asked.name} asks for no score")

    @property
    def _prompt(self) -> Prompt:
        return prompts.load(self.prompt)

    def model_digest(self) -> str:
        return self._prompt.digest()

    @property
    def drops(self) -> bool:
        limits = (self.min_score, self.max_score)
        return bool(self.keep_labels or self.drop_labels) or any(limit is not None for limit in limits)

    @property
    def by_population(self) -> bool:
        return self.limits.any

    @property
    def limits(self) -> Limits:
        """Sample and budget."""
        return Limits(
            sample=self.sample,
            by=self.sample_by,
            seed=self.seed,
            requests=self.budget_requests,
            tokens=self.budget_tokens,
            dollars=self.budget_dollars,
            price_asked=self.price_input,
            price_answered=self.price_output,
        )

    def planned(self) -> Self:
        return replace(self, budget_requests=0)

    # --- asking -------------------------------------------------------------------------------------------------

    def askers(self) -> tuple[Asker, ...]:
        """Return the models with the prompt and parameters, in the order of the recipe."""
        asked = self._prompt
        return tuple(
            Asker(
                model=model,
                prompt=asked,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                seed=self.seed,
                structured=self.structured,
                extra=self.extra,
            )
            for model in self.models
        )

    def manner(self, processes: int) -> Manner:
        """Return how one of so many processes asks."""
        return manner_of(self, processes, strict=self.limits.budget)

    def acceptor(self) -> Callable[[str], bool]:
        """Return what tells whether an answer has the asked form."""
        asked = self._prompt
        return lambda content: asked.verdict(content) is not None

    def ask_live(self, engine: Engine, stage_run: StageRun[Any]) -> None:
        """Write the facts of the live documents."""
        live.ask_live(engine, stage_run)

    def ask_requested(
        self, engine: Engine, stage_run: StageRun[Any], purpose: str, requests: Sequence[Source], place: int
    ) -> None:
        """Write the facts of documents that a round of promotion requests."""
        live.ask_requested(engine, stage_run, purpose, requests, place)

    # --- facts ----------------------------------------------------------------------------------------------------

    def annotate(self, documents: pa.Table) -> pa.Table:
        """Return the facts of these documents, all of them asked about, no answer kept. A run asks by `ask_live`."""
        import tempfile

        texts = whole(documents.column("text")).to_pylist()
        if not texts:
            return self.schema.empty_table()
        cut = self._prompt.cut
        with tempfile.TemporaryDirectory() as folder:
            facts, at = ask_texts(folder, self, self.manner(1), Range(), [cut(text) for text in texts])
        return facts.take(pa.array(at))

    def facts_of(self, replies: Sequence[Sequence[Reply]]) -> pa.Table:
        """Return the facts of texts, a row for each; replies: those of each text, by model, then by vote."""
        asked = self._prompt
        return self._table([self._fact(asked, each) for each in replies])

    def facts_without(self, statuses: Sequence[str]) -> pa.Table:
        """Return the facts of documents that were not asked about."""
        return self._table([(None, None, 0, None, None, status) for status in statuses])

    def _table(self, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
        columns = list(zip(*rows, strict=True)) or [()] * len(self.schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        return pa.table(arrays, schema=self.schema)

    def _fact(self, asked: Prompt, replies: Sequence[Reply]) -> tuple[Any, ...]:
        """Return one row of facts."""
        found = [asked.verdict(reply.content) for reply in replies if reply.content is not None]
        verdicts = [verdict for verdict in found if verdict is not None]
        if not verdicts:
            return None, None, 0, None, None, replies[-1].reason
        scores = [verdict.score for verdict in verdicts if verdict.score is not None]
        label = _most(verdict.label for verdict in verdicts) if asked.labels else None
        spread = max(scores) - min(scores) if scores else None
        return self._combined(scores), label, len(verdicts), spread, _reason(verdicts), None

    def _combined(self, scores: Sequence[float]) -> float | None:
        if not scores:
            return None
        if self.combine == MAJORITY:
            return float(_most(scores))
        return float(statistics.fmean(scores) if self.combine == MEAN else statistics.median(scores))

    def decide(self, facts: pa.Table) -> Decisions:
        rows = facts.num_rows
        score = facts.column("judge_score").to_numpy().astype(np.float64)  # null becomes NaN
        reason, threshold = np.full(rows, -1, np.int16), np.full(rows, np.nan)
        label = whole(facts.column("judge_label"))
        for limit, code in ((self.max_score, 2), (self.min_score, 1)):
            if limit is not None:
                beyond = score > limit if code == 2 else score < limit
                reason[beyond], threshold[beyond] = code, limit
        if self.keep_labels:
            reason[~_is_in(label, self.keep_labels)] = 3
        reason[_is_in(label, self.drop_labels)] = 3
        if self.drops:
            missing = facts.column("judge_votes").to_numpy() == 0
            reason[missing] = -1 if self.keep_missing else 0
        return Decisions(reason, REASONS, score, threshold)

    def figures(self, facts: pa.Table) -> dict[str, int]:
        status = whole(facts.column("judge_status"))
        counts = pc.value_counts(status.drop_null()).to_pylist()
        return {"judged": int(status.null_count), **{f"without score: {c['values']}": c["counts"] for c in counts}}


def _reason(verdicts: Sequence[Verdict]) -> str | None:
    return next((verdict.reason for verdict in verdicts if verdict.reason is not None), None)


def _most(values: Any) -> Any:
    """Return the most frequent value; of equally frequent ones the least."""
    return min(Counter(values).items(), key=lambda item: (-item[1], item[0]))[0]


def _is_in(label: pa.Array, wanted: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    found = pc.is_in(label, pa.array(wanted, pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)
