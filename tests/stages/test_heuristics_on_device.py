"""Heuristics on a device: the CUDA kernels, compiled for the host, count the integers of the host's kernels."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.device import backend, cuda_source
from stages.heuristics import Heuristics
from stages.kernels.dispatch.dispatch import HOST_KERNELS
from stages.kernels.dispatch.space import HOST
from stages.kernels.gpu import rapids_kernels, text_kernels
from stages.kernels.hashes.hashing import buffers
from stages.kernels.text import heuristics, scripts
from stages.kernels.text.heuristic_facts import DEFAULT, Readings
from stages.kernels.text.known_words import Known, hash_table, nothing_known
from stages.languages import stop_words
from tests.stages.test_heuristics import PIECES, READINGS
from tests.support import cuda_on_host, languages

pytestmark = pytest.mark.skipif(cuda_on_host.compiler() is None, reason="no C++ compiler")
SIGNS = st.sampled_from([*heuristics.BULLETS, *heuristics.BRACKETS, "\n", "\n\n", " ", "same line\n", "a b c d e f "])


@pytest.fixture(autouse=True)
def on_stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    cupy = types.ModuleType("cupy")
    cupy.RawModule = cuda_on_host.HostModule  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(rapids_kernels, "space", lambda: HOST)
    monkeypatch.setattr(backend, "_resolved", "gpu")
    cuda_source.kernel.cache_clear()
    yield
    cuda_source.kernel.cache_clear()


def array(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def check(texts: list[str], how: Readings = DEFAULT, known: Known | None = None) -> None:
    data, offsets = buffers(array(["before", *texts]).slice(1))
    about = known or nothing_known(len(texts))
    expected = HOST_KERNELS["heuristic_counts"](data, offsets, how, about)
    np.testing.assert_array_equal(heuristics.heuristic_counts(data, offsets, how, about), expected)


def check_scripts(texts: list[str]) -> None:
    expected = HOST_KERNELS["script_places"](*buffers(array(texts)))
    np.testing.assert_array_equal(scripts.scripts_of(array(texts)), expected)


unhurried = settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])


@unhurried
@given(st.lists(st.lists(st.one_of(PIECES, SIGNS), max_size=60).map("".join), max_size=4), READINGS)
def test_integers_of_telling_pieces_by_every_reading(texts: list[str], how: Readings) -> None:
    check(texts, how)


@unhurried
@given(st.lists(st.text(max_size=60), max_size=5), READINGS)
def test_integers_of_any_text_by_every_reading(texts: list[str], how: Readings) -> None:
    check(texts, how)


def test_integers_of_running_text_in_every_language() -> None:
    texts = [
        text for code in sorted(languages.SENTENCES) for text in (*languages.good(code, 3), *languages.junk(code, 3))
    ]
    for how in (DEFAULT, Readings(split="spaces", counts="all", overlaps="covered"), Readings(signs="never")):
        check(texts, how)
    np.testing.assert_array_equal(
        scripts.scripts_of(array(texts)), HOST_KERNELS["script_places"](*buffers(array(texts)))
    )


@given(st.lists(st.text(max_size=40), max_size=6))
@unhurried
def test_scripts_of_any_text(texts: list[str]) -> None:
    np.testing.assert_array_equal(
        scripts.scripts_of(array(texts)), HOST_KERNELS["script_places"](*buffers(array(texts)))
    )


def test_lists_of_stop_words_and_given_words() -> None:
    texts = ["der und das Haus UND", "the be to of", "สวัสดีครับผม", "le la et un", ""]
    lists = [hash_table(["der", "und", "das"]), hash_table([f"w{i}" for i in range(90)] + ["le", "et"])]
    bounds = np.cumsum([0, *map(len, lists)])
    known = Known(
        np.array([0, -1, -2, 1, 1], np.int32), np.concatenate(lists), bounds, np.array([3, 2]), np.array([3, 3]),
        np.array([0, 6]), np.array([6, 10]), np.array([0, 0, 0, 2, 2, 2]),
    )  # fmt: skip
    check(texts, DEFAULT, known)
    check(texts, Readings(stop_words_count="all"), known)


def test_long_documents_are_counted_by_the_host_and_batches_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"words {i % 7} and lines {i}\n" * (i * 5 % 23) for i in range(40)]
    calls: list[int] = []
    wrapped = text_kernels._call
    monkeypatch.setattr(text_kernels, "_call", lambda *given: calls.append(given[1]) or wrapped(*given))
    check(texts)
    assert calls == [40]
    monkeypatch.setattr(text_kernels, "LONGEST", 200)
    monkeypatch.setattr(text_kernels, "SCRATCH", 100_000)
    check(texts)
    assert len(calls) > 4
    assert sum(calls[1:]) == sum(len(text) <= 200 for text in texts)
    assert list(text_kernels.shares(np.zeros(1, np.int64))) == []


def test_batches_that_do_not_fit_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = text_kernels._call

    def small(name: str, docs: int, given: Any) -> None:
        if docs > 5:
            raise MemoryError("std::bad_alloc")
        wrapped(name, docs, given)

    monkeypatch.setattr(text_kernels, "_call", small)
    check([f"the text of {i} words, and more\n" * i for i in range(23)])


def test_a_document_keeps_to_its_part_of_the_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch behind each part stays as it was; what lay in a part before is of no consequence."""
    gap, seen = 64, 0

    def called(name: str, docs: int, given: tuple[Any, ...]) -> None:
        nonlocal seen
        room = given[-2]
        apart = np.full(int(room[-1]) + gap * docs, 0xAB, np.uint8)
        places = room + gap * np.arange(docs + 1)
        call = cuda_source.kernel(text_kernels.FOLDER / f"{name}.cu")
        call((1,), (1,), (*given[:-3], apart, places, given[-1]))
        for k in range(docs):
            assert (apart[room[k + 1] + gap * k :][:gap] == 0xAB).all()
            seen += 1

    monkeypatch.setattr(text_kernels, "_call", called)
    pieces = ["", "a", "\n" * 50, ". " * 40, "...(((" * 20, "漢字" * 30, "a b " * 64, "'s" * 33, "x\ny\n\n" * 40]
    for text in pieces:
        check([text, text[:7], text + "é"])
    assert seen == 3 * len(pieces)


@pytest.mark.parametrize("code", ["", "de", "th"])
def test_the_stage_has_the_facts_of_the_host(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if code and not stop_words.installed():
        pytest.skip("no lists of stop words")
    texts = [text for each in ("de", "th", "ko") for text in (*languages.good(each, 2), *languages.junk(each, 2))]
    stage, table = Heuristics(language=code), pa.table({"text": array(texts)})
    found = stage.annotate(table)
    monkeypatch.setattr(backend, "_resolved", "cpu")
    assert found.equals(stage.annotate(table))
