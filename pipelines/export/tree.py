"""What `winnow trace --json` prints, as types."""

from __future__ import annotations

from typing_extensions import TypedDict

from pipelines.explain.tree import ExplainedDocument


class TracedPiece(TypedDict):
    """A piece of a document in a sequence. at: its first token there; document_from: that token in the document,
    counted with the tokens that begin and end it; copy: from 0."""

    doc_id: int
    copy: int
    at: int
    tokens: int
    document_from: int
    document_tokens: int
    text: str


class TracedSequence(TypedDict):
    """A sequence of an export, or a sample that Megatron draws, and what it is made of."""

    name: str
    tokens: int
    padding: int
    pieces: list[TracedPiece]


class Trace(TypedDict):
    """Sequences and their documents: where each lies, why it is in, whom it stands for (`group`)."""

    format: int
    export: str
    run: str
    sequences: list[TracedSequence]
    documents: list[ExplainedDocument]
