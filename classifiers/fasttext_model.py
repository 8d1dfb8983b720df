"""fastText models (.bin, .ftz) that judge Arrow text, with the answers of the fasttext package.

Guarantees: the label of the package's `predict` and its score to 1e-6 (clipped to 1), for a text whose
newlines are replaced by spaces and which is cut after `max_chars` characters. A model is loaded
once per process and path and is never pickled.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.loaded_once import loaded_once
from classifiers.models import file_digest, licence_of
from cluster.device import backend, kernel_times
from cluster.errors import RecipeError

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

SUMS = "fasttext_sums", "fasttext_word_sums"  # the kernel on a device that does the host's work: with subwords, without
MAX_CHARS = 100_000  # default cut; a longer text is judged by its beginning

if TYPE_CHECKING:
    from classifiers.native_fasttext.format import Loaded
    from classifiers.native_fasttext.met_words import Met
    from classifiers.native_fasttext.on_device import DeviceModel, DeviceTexts

log = logging.getLogger(__name__)


class FastTextModel(Protocol):
    """A loaded supervised model."""

    labels: tuple[str, ...]

    def best(self, texts: pa.Array | DeviceTexts, max_chars: int = MAX_CHARS) -> tuple[I32, F32]:
        """Return the best label's index and its score, (texts,) each; -1 and 0 where there is none."""

    def scores(self, texts: pa.Array | DeviceTexts, labels: Sequence[int], max_chars: int = MAX_CHARS) -> F32:
        """Return the scores of some labels, (texts, labels) float32; zeros for a text without features."""


def load(path: str) -> FastTextModel:
    """Return the model at `path`, loaded once per process as long as the file stays the same.

    Raises
    ------
    RecipeError
        when the file is not a supervised fastText model.
    """
    stat = os.stat(path)
    return _load(path, stat.st_mtime_ns, stat.st_size)


@loaded_once(4)
def _load(path: str, changed: int, size: int) -> FastTextModel:
    from classifiers.native_fasttext import format

    try:
        return NativeModel(format.read(path))
    except format.TooLarge as error:
        model = PackageModel(path)
        log.warning("model read by the fasttext package path=%s reason=%s", path, error)
        return model
    except format.Unsupported as error:  # the package might load it without a word, or end the process
        raise not_a_model(path, str(error)) from error


def labels_of(path: str) -> tuple[str, ...]:
    """Return a model's labels, in its order; only the head of the file is read. Raises RecipeError."""
    stat = os.stat(path)
    return _labels(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=16)
def _labels(path: str, changed: int, size: int) -> tuple[str, ...]:
    from classifiers.native_fasttext import format

    try:
        return format.read_labels(path)
    except format.Broken as error:
        raise not_a_model(path, str(error)) from error
    except format.Unsupported:
        return _load(path, changed, size).labels


def card(path: str) -> dict[str, str]:
    """Return digest, licence and source of a model file."""
    return {"digest": file_digest(path), "licence": licence_of(path), "source": path}


class NativeModel:
    """winnow's own inference: no Python object per text, the interpreter lock released; on a GPU where one is used."""

    def __init__(self, loaded: Loaded) -> None:
        self.labels = loaded.labels
        self._loaded = loaded
        self._lock = threading.Lock()
        self._on_device: DeviceModel | None = None
        self._met: list[Met] = []

    def best(self, texts: pa.Array | DeviceTexts, max_chars: int = MAX_CHARS) -> tuple[I32, F32]:
        if (device := self._device()) is None:
            return self._best_on_host(*text_buffers(on_host(texts)), max_chars)
        label, score = _room(len(texts))
        again = device.best(*_where_they_lie(texts), max_chars, label, score)
        if len(again):
            label[again], score[again] = self._best_on_host(*text_buffers(_taken(texts, again)), max_chars)
        return label, score

    def scores(self, texts: pa.Array | DeviceTexts, labels: Sequence[int], max_chars: int = MAX_CHARS) -> F32:
        wanted = np.array(labels, np.int64)
        if (device := self._device()) is None:
            return self._scores_on_host(*text_buffers(on_host(texts)), max_chars, wanted)
        found = np.empty((len(texts), len(wanted)), np.float32)
        again = device.scores(*_where_they_lie(texts), max_chars, wanted, found)
        if len(again):
            found[again] = self._scores_on_host(*text_buffers(_taken(texts, again)), max_chars, wanted)
        return found

    def _device(self) -> DeviceModel | None:
        """Return the model on this process's GPU; None where the backend is cpu, or the kernel knows no such model."""
        if backend.current() != "gpu":
            return None
        from classifiers.native_fasttext import on_device

        with self._lock:
            if self._on_device is None and on_device.fits(self._loaded):
                self._on_device = on_device.DeviceModel(self._loaded)
            return self._on_device

    def _best_on_host(self, data: U8, offsets: I64, max_chars: int) -> tuple[I32, F32]:
        from classifiers.native_fasttext import kernels

        label, score = _room(len(offsets) - 1)
        with kernel_times.timed(SUMS[not self._loaded.tables.sizes.maxn]), self._words() as met:
            arguments = self._loaded.tables, self._loaded.output, met, data, offsets, max_chars
            kernels.best_labels(*arguments, _longest(offsets, max_chars), label, score)
        return label, score

    def _scores_on_host(self, data: U8, offsets: I64, max_chars: int, wanted: I64) -> F32:
        from classifiers.native_fasttext import kernels

        found = np.empty((len(offsets) - 1, len(wanted)), np.float32)
        with kernel_times.timed(SUMS[not self._loaded.tables.sizes.maxn]), self._words() as met:
            arguments = self._loaded.tables, self._loaded.output, met, data, offsets, max_chars
            kernels.label_scores(*arguments, _longest(offsets, max_chars), wanted, found)
        return found

    @contextlib.contextmanager
    def _words(self) -> Iterator[Met]:
        """Yield the words that were met by earlier calls, to this call alone; threads have words of their own."""
        from classifiers.native_fasttext import met_words

        with self._lock:
            met = self._met.pop() if self._met else None
        met = met or met_words.make_met(self._loaded.tables.sizes.maxn)
        yield met
        with self._lock:
            self._met.append(met)


def on_host(texts: pa.Array | DeviceTexts) -> pa.Array:
    """Return the texts as an Arrow array, wherever they lie."""
    return texts if isinstance(texts, pa.Array) else texts.host()


def _taken(texts: pa.Array | DeviceTexts, rows: I64) -> pa.Array:
    """Return some of the texts as an Arrow array."""
    return texts.take(pa.array(rows)) if isinstance(texts, pa.Array) else texts.take(rows).host()


def _where_they_lie(texts: pa.Array | DeviceTexts) -> tuple[Any, I64]:
    """Return bytes, on the host or the device, and offsets."""
    return text_buffers(texts) if isinstance(texts, pa.Array) else (texts.bytes(), texts.offsets)


def _room(texts: int) -> tuple[I32, F32]:
    """Return arrays for labels and scores."""
    return np.empty(texts, np.int32), np.empty(texts, np.float32)


def text_buffers(texts: pa.Array) -> tuple[U8, I64]:
    """Return the bytes and the offsets, (texts + 1,), of a large_string array without nulls."""
    texts = texts.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    if not len(texts):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    places = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), places


def _longest(offsets: I64, max_chars: int) -> int:
    """Return how many bytes of one text are looked at, at most; a character has up to four."""
    return min(int(np.diff(offsets).max(initial=0)), 4 * max_chars)


class PackageModel:
    """The fasttext package behind the same two methods, one Python string per text."""

    def __init__(self, path: str) -> None:
        import fasttext

        self._model: Any = fasttext.load_model(path).f
        if "sup" not in str(self._model.getArgs().model):
            raise ValueError("it holds word vectors")
        self.labels = tuple(_labels_of(self._model))
        self._index = {name: i for i, name in enumerate(self.labels)}

    def best(self, texts: pa.Array | DeviceTexts, max_chars: int = MAX_CHARS) -> tuple[I32, F32]:
        label = np.full(len(texts), -1, np.int32)
        score = np.zeros(len(texts), np.float32)
        for i, text in enumerate(on_host(texts).to_pylist()):
            for value, name in self._model.predict(clean(text, max_chars) + "\n", 1, 0.0, "strict"):
                label[i], score[i] = self._index[name], min(value, 1.0)
        return label, score

    def scores(self, texts: pa.Array | DeviceTexts, labels: Sequence[int], max_chars: int = MAX_CHARS) -> F32:
        found = np.zeros((len(texts), len(self.labels)), np.float32)
        for i, text in enumerate(on_host(texts).to_pylist()):
            for value, name in self._model.predict(clean(text, max_chars) + "\n", -1, 0.0, "strict"):
                found[i, self._index[name]] = min(value, 1.0)
        return found[:, list(labels)]


def _labels_of(model: Any) -> list[str]:
    return [str(name) for name in model.getLabels("strict")[0]]


def clean(text: str, max_chars: int = MAX_CHARS) -> str:
    """Return the text as the model sees it: cut, newlines replaced by spaces."""
    return text[:max_chars].replace("\n", " ")


def not_a_model(path: str, reason: str) -> RecipeError:
    """Build the error for a file that is not a supervised fastText model."""
    return RecipeError(
        f"{path} is not a whole supervised fastText model ({reason}). Give a .bin or .ftz file made by "
        "`fasttext supervised`, `fasttext quantize` or `winnow classifier train`."
    )
