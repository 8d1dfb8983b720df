"""Line rules and repair on a device: the CUDA kernels, compiled for the host, give the bits of the host's kernels."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.device import backend, cuda_source
from stages.core.stage import ShardStage
from stages.kernels.dispatch import resident as resident_texts
from stages.kernels.dispatch.dispatch import HOST_KERNELS
from stages.kernels.dispatch.resident import Documents, Resident, portions
from stages.kernels.dispatch.space import HOST, Space
from stages.kernels.gpu import line_kernels, rapids_kernels
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity import minhash  # noqa: F401  registers kernels
from stages.kernels.text import heuristics, repair_signs, scripts  # noqa: F401  registers kernels
from stages.kernels.text.heuristic_facts import DEFAULT
from stages.kernels.text.known_words import nothing_known
from stages.kernels.text.pieces import pieces
from stages.kernels.text.repairs import KINDS
from stages.line_rules import LineRules
from stages.repair import Repair
from tests.stages.inputs.test_device_reader import Frame
from tests.stages.kernels.test_repair_signs import BAD
from tests.stages.kernels.test_repair_signs import PIECES as BROKEN
from tests.stages.test_line_rules import PIECES as LINES
from tests.support import cuda_on_host, languages

pytestmark = pytest.mark.skipif(cuda_on_host.compiler() is None, reason="no C++ compiler")
TELLING = st.sampled_from(
    [*LINES, *BROKEN, "\n", "\n\n", " ", "...", ".", "\u2026", "\u3002", "\u212a", "[1]", "cookie"]
)
TEXTS = st.lists(
    st.lists(st.one_of(TELLING, st.sampled_from(BAD), st.text(max_size=4)), max_size=30).map("".join), max_size=5
)
unhurried = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def on_stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    cupy = types.ModuleType("cupy")
    cupy.RawModule = cuda_on_host.HostModule  # type: ignore[attr-defined]
    cupy.asarray, cupy.int32, cupy.int64 = np.asarray, np.int32, np.int64  # type: ignore[attr-defined]
    cupy.uint8, cupy.empty = np.uint8, np.empty  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(rapids_kernels, "space", lambda: HOST)
    monkeypatch.setattr(backend, "_resolved", "gpu")
    cuda_source.kernel.cache_clear()
    yield
    cuda_source.kernel.cache_clear()


def array(texts: list[str]) -> pa.Array:
    """Return the texts as a slice, so that offsets do not begin at 0."""
    return pa.array(["before\n", *texts], pa.large_string()).slice(1)


def resident(texts: list[str]) -> Resident:
    """Return the texts as if they lay on a device."""
    offsets = np.cumsum([0, *(len(text.encode()) for text in texts)], dtype=np.int64)
    return Resident(Frame(texts, dtype="str"), offsets, np.array([len(text) for text in texts], np.uint32))


def check_lines(texts: list[str]) -> None:
    data, offsets = buffers(array(texts))
    expected = HOST_KERNELS["line_rows"](data, offsets)
    np.testing.assert_array_equal(rapids_kernels.line_rows(data, offsets), expected)
    expected[:, 1:4] -= offsets[0]
    given = resident(texts)
    np.testing.assert_array_equal(rapids_kernels.line_rows(*buffers(given)), expected)


def check_marks(texts: list[str], wanted: int) -> None:
    data, offsets = buffers(array(texts))
    expected = HOST_KERNELS["repair_marks"](data, offsets, wanted)
    for where in (array(texts), resident(texts)):
        np.testing.assert_array_equal(rapids_kernels.repair_marks(*buffers(where), wanted), expected)


def check_stage(stage: ShardStage, texts: list[str]) -> None:
    """Compare the facts of texts that lie on the device with those of the host."""
    there = stage.annotate(Documents(pa.table({"n": range(len(texts))}), resident(texts)))  # type: ignore[arg-type]
    backend._resolved = "cpu"
    try:
        assert there.equals(stage.annotate(pa.table({"text": array(texts)})))
    finally:
        backend._resolved = "gpu"


def test_lines_of_a_device_come_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted in lines is many times the text, so no more than a batch of the host's is brought at once."""
    texts = ["one line.\nanother", "", "x" * 90, "two\n\nthree. four", *(f"a line of {n} words.\n" for n in range(9))]
    monkeypatch.setattr(resident_texts, "PORTION", 40)
    sizes = [part.nbytes - part.offsets.nbytes for part in portions(resident(texts))]
    assert len(sizes) > 3
    assert sum(sizes) == sum(len(text) for text in texts)
    assert all(size <= 40 or size == 90 for size in sizes)
    check_stage(LineRules(rules=("c4", "refinedweb")), texts)


@unhurried
@given(TEXTS)
def test_lines_of_any_text(texts: list[str]) -> None:
    check_lines(texts)


@unhurried
@given(TEXTS, st.integers(0, (1 << len(KINDS)) - 1))
def test_marks_of_any_text(texts: list[str], wanted: int) -> None:
    check_marks(texts, wanted)


@settings(unhurried, max_examples=40)
@given(TEXTS)
def test_stages_have_the_facts_of_the_host(texts: list[str]) -> None:
    check_stage(LineRules(rules=("c4", "refinedweb")), texts)
    check_stage(LineRules(rules=("c4",), end_marks=".\u2026\u3002\U0001f600", max_digits=0.5), texts)
    check_stage(Repair(), texts)


def test_running_text_in_every_language() -> None:
    texts = [t for code in sorted(languages.SENTENCES) for t in (*languages.good(code, 2), *languages.junk(code, 2))]
    check_lines(texts)
    check_marks([*texts, *(text.encode().decode("cp1252", "replace") for text in texts)], 31)
    check_stage(LineRules(rules=("c4", "refinedweb")), texts)


def test_long_documents_are_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"line {i}, \u00c3\u00a9 [1]\nanother\n" * (i * 7 % 11) for i in range(30)]
    monkeypatch.setattr(line_kernels, "LONGEST", 100)
    asked: list[int] = []
    for name in ("line_rows", "repair_marks"):
        host = HOST_KERNELS[name]
        told = lambda data, offsets, *more, host=host: asked.append(len(offsets) - 1) or host(data, offsets, *more)  # noqa: E731
        monkeypatch.setitem(HOST_KERNELS, name, told)
    check_lines(texts)
    check_marks(texts, 31)
    longer = sum(len(text.encode()) > 100 for text in texts)
    assert longer > 10
    assert asked.count(1) == 4 * longer
    assert asked.count(len(texts)) == 2


def test_batches_that_do_not_fit_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = line_kernels._call

    def small(name: str, docs: int, given: tuple[object, ...]) -> None:
        if docs > 3:
            raise MemoryError("std::bad_alloc")
        wrapped(name, docs, given)

    monkeypatch.setattr(line_kernels, "_call", small)
    check_lines([f"the text of {i}\nand more\n\n" * i for i in range(13)])
    check_marks(["&amp;", "clean", "\u200b", "", "caf\u00e9"] * 3, 31)


def test_pieces_that_do_not_fit_are_copied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"piece {n}, \u00e9" * (n % 4) for n in range(13)]
    wrapped, asked = line_kernels.copied, list[int]()

    def small(place: object, data: object, starts: np.ndarray, places: np.ndarray) -> object:
        asked.append(len(starts))
        if len(starts) > 3:
            raise MemoryError("std::bad_alloc")
        return wrapped(place, data, starts, places)  # type: ignore[arg-type]

    monkeypatch.setattr(line_kernels, "copied", small)
    bounds = np.cumsum([0, *(len(text.encode()) for text in texts)], dtype=np.int64)
    order = np.arange(13)[::-1]
    found = pieces(buffers(resident(texts))[0], bounds[order], bounds[order + 1])
    assert found.to_pylist() == texts[::-1]
    assert max(asked) == 13
    assert sum(count <= 3 for count in asked) >= 5


def test_texts_that_do_not_fit_on_their_way_to_the_device_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []

    def put(array: np.ndarray) -> np.ndarray:
        if array.dtype == np.uint8 and 40 < array.nbytes < 10_000:  # of texts; tables of Unicode are larger
            refused.append(array.nbytes)
            raise MemoryError("std::bad_alloc")
        return np.asarray(array)

    monkeypatch.setattr(rapids_kernels, "space", lambda: Space(np, put, np.asarray))
    texts = [f"&amp; text {n}\nand caf\u00c3\u00a9\n" * (n % 2) for n in range(13)]
    check_lines(texts)
    check_marks(texts, 31)
    data, offsets = buffers(array(texts))
    for name in ("script_places", "heuristic_counts", "signatures_by_seeds"):
        more = {
            "script_places": (),
            "heuristic_counts": (DEFAULT, nothing_known(len(texts))),
            "signatures_by_seeds": (np.arange(3, dtype=np.uint32), 5),
        }[name]
        before = len(refused)
        found = getattr(rapids_kernels, name)(data, offsets, *more)
        np.testing.assert_array_equal(found, HOST_KERNELS[name](data, offsets, *more))
        assert len(refused) > before


@unhurried
@given(st.lists(st.text(max_size=12), min_size=1, max_size=6), st.data())
def test_pieces_are_copied_in_any_order(texts: list[str], data: st.DataObject) -> None:
    places = np.cumsum([0, *(len(text.encode()) for text in texts)], dtype=np.int64)
    order = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8)), np.int64)
    for where in (pa.array(texts, pa.large_string()), resident(texts)):
        found = pieces(buffers(where)[0], places[order], places[order + 1])
        assert found.to_pylist() == [texts[i] for i in order.tolist()]


def test_every_character_alone_and_beside_others() -> None:
    """Each code point whose kind of repair, pairs or class differ from those of the one before it."""
    tables = [np.flatnonzero(np.diff(table, prepend=table[:1])) for table in repair_signs.tables()]
    points = [int(p) for p in np.unique(np.concatenate(tables)) if not 0xD800 <= p < 0xE000]
    texts = [chr(p) + tail for p in points for tail in ("", "\u00a9", " x")]
    check_marks(texts, 31)
    check_lines(["\n".join(texts[k : k + 500]) for k in range(0, len(texts), 500)])
