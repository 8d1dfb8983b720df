"""Chunks to outputs: a draft by each model and prompt, rounds of critique and refinement, checks.

Guarantees: every question is kept and asked once (classifiers/endpoint); what comes of a chunk depends on the chunk and
the answers alone. Memory: the chunks of one range and their outputs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from classifiers.endpoint import prompt as prompts
from classifiers.endpoint.answers import Range, key_of
from classifiers.endpoint.ask import Question, Reply, ask
from classifiers.endpoint.asker import Asker
from classifiers.endpoint.prompt import Prompt
from classifiers.language import LanguageIdentifier
from pipelines.synthesise.checks import fault, tidy
from pipelines.synthesise.settings import Synthesis
from stages.asking.texts import text_digest

GOOD = "good"


@dataclass
class Draft:
    """What one model made of one chunk by one prompt. reason: why it is not usable; critiques: one for each round."""

    chunk: str
    model: str
    prompt: str
    text: str = ""
    reason: str = ""
    critiques: list[str] = field(default_factory=list)
    done: bool = False


@dataclass(frozen=True)
class Asking:
    """How the models are asked about the chunks of one range."""

    root: str
    settings: Synthesis
    processes: int
    part: Range

    def ask(
        self, asker: Asker, drafts: Sequence[Draft], texts: Sequence[str], accept: Callable[[str], bool]
    ) -> list[Reply]:
        """Return the reply to each text about a draft; its key begins as its chunk's does, and lies in their range."""
        keys = [text_digest(draft.chunk)[:4] + text_digest(text)[4:] for draft, text in zip(drafts, texts, strict=True)]
        asked = [Question(key_of(key, 0), text) for key, text in zip(keys, texts, strict=True)]
        manner = self.settings.manner(self.processes)
        return ask(self.root, asker, manner, self.part, asked, accept)[0]


def rewrite(
    root: str, settings: Synthesis, processes: int, part: Range, chunks: Sequence[str], language_model: str
) -> list[Draft]:
    """Return a draft by each prompt and model of each chunk. Raises BackendError as `ask` does.

    part : range of keys that the digests of all chunks lie in.
    """
    asking = Asking(root, settings, processes, part)
    found: list[Draft] = []
    for prompt in settings.loaded():
        for model in settings.models:
            drafts = [Draft(chunk, model, prompt.name) for chunk in chunks]
            _draft(asking, prompt, drafts)
            for _ in range(settings.rounds):
                _refine(asking, prompt, drafts)
            for draft in drafts:
                if not draft.reason:
                    told = prompt.messages("")
                    words = " ".join(message["content"] for message in told)
                    same = same_language(language_model) if language_model else None
                    draft.reason = fault(draft.chunk, draft.text, words, settings.checks, same)
            found += drafts
    return found


def _draft(asking: Asking, prompt: Prompt, drafts: list[Draft]) -> None:
    if not drafts:
        return
    asker = asking.settings.asker(drafts[0].model, prompt)
    for draft, reply in zip(drafts, asking.ask(asker, drafts, [d.chunk for d in drafts], _is_text), strict=True):
        _take(draft, reply)


def _take(draft: Draft, reply: Reply) -> None:
    if reply.content is None:
        draft.reason, draft.done = reply.reason, True
    else:
        draft.text = tidy(reply.content)


def _refine(asking: Asking, prompt: Prompt, drafts: list[Draft]) -> None:
    """Let every draft that is not good yet be criticised, and written anew by its critique."""
    open_ = [draft for draft in drafts if not draft.done]
    if not open_:
        return
    task = prompt.user.partition(prompts.PLACE)[0].strip()
    critic = asking.settings.asker(open_[0].model, prompts.load("critique", "refine"))
    verdicts = asking.ask(critic, open_, [_both(task, draft) for draft in open_], _is_verdict(critic))
    worse = []
    for draft, reply in zip(open_, verdicts, strict=True):
        verdict = critic.prompt.verdict(reply.content) if reply.content is not None else None
        draft.critiques.append("" if verdict is None else verdict.reason or "")
        draft.done = verdict is None or verdict.label == GOOD
        if not draft.done:
            worse.append(draft)
    writer = asking.settings.asker(open_[0].model, prompts.load("refine", "refine"))
    asked = [f"{_both(task, draft)}\n\nEDITOR:\n{draft.critiques[-1]}" for draft in worse]
    for draft, reply in zip(worse, asking.ask(writer, worse, asked, _is_text), strict=True):
        if reply.content is not None:  # else the draft before it stays
            draft.text = tidy(reply.content)


def _both(task: str, draft: Draft) -> str:
    return f'TASK:\n{task}\n\nTEXT:\n"""\n{draft.chunk}\n"""\n\nDRAFT:\n"""\n{draft.text}\n"""'


def _is_text(content: str) -> bool:
    return bool(tidy(content))


def _is_verdict(asker: Asker) -> Callable[[str], bool]:
    return lambda content: asker.prompt.verdict(content) is not None


@functools.lru_cache(maxsize=2)
def same_language(spec: str) -> Callable[[str, str], bool]:
    """Return what tells whether two texts are in one language, by a language model."""
    identifier = LanguageIdentifier(spec)

    def same(one: str, other: str) -> bool:
        names = identifier.names(identifier.identify(pa.array([one, other], pa.large_string()))).to_pylist()
        return bool(names[0] == names[1])

    return same
