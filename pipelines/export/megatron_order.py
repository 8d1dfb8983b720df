"""The order in which Megatron-LM reads sequences: which of them, and which of their tokens, make up a sample.

A `GPTDataset` shuffles the sequences of a prefix, cuts the stream that they make every `sequence_length` tokens (the
first token of the next sample is the last label), and shuffles the samples; both by numpy's RandomState with the seed.
Guarantees: the arithmetic is that of megatron-core 0.16. Memory: as there, some 20 bytes for each sequence and epoch
and 8 for each sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
SEPARATE_BELOW = 0.80  # of an epoch's samples: a shorter last epoch is shuffled by itself


@dataclass(frozen=True, kw_only=True)
class MegatronOrder:
    """The samples of one prefix.

    lengths : tokens of each sequence. samples : that training asks for; None: one epoch. seed : Megatron's `--seed`.
    """

    lengths: I64
    sequence_length: int
    seed: int
    samples: int | None = None

    @cached_property
    def per_epoch(self) -> int:
        """Tokens of an epoch."""
        return int(self.lengths.sum())

    @cached_property
    def epochs(self) -> int:
        """Epochs that the samples asked for take."""
        if self.samples is None or not self.per_epoch:
            return 1
        return max(1, -(-(self.samples * self.sequence_length + 1) // self.per_epoch))

    @cached_property
    def count(self) -> int:
        """The number of samples there are."""
        return max(0, (self.epochs * self.per_epoch - 1) // self.sequence_length)

    @cached_property
    def _first_shuffled(self) -> int:
        """Samples that are shuffled together; those of a short last epoch are by themselves."""
        if self.epochs == 1:
            return self.count
        before = ((self.epochs - 1) * self.per_epoch - 1) // self.sequence_length
        of_epoch = (self.per_epoch - 1) // self.sequence_length
        assert self.samples is not None
        separate = self.samples - before < int(SEPARATE_BELOW * of_epoch)
        return before if separate else self.count

    @cached_property
    def _indexes(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.unsignedinteger | np.signedinteger]]:
        """Return (sequences in the order of the stream, samples in the order of training)."""
        random = np.random.RandomState(self.seed)
        separate = self._first_shuffled != self.count
        rounds = [self.epochs - 1, 1] if separate else [self.epochs]
        documents = []
        for epochs in rounds:
            order = np.tile(np.arange(len(self.lengths), dtype=np.int32), epochs)
            random.shuffle(order)
            documents.append(order)
        kind = np.uint32 if self.count < np.iinfo(np.uint32).max - 1 else np.int64
        samples = []
        for start, stop in ((0, self._first_shuffled), (self._first_shuffled, self.count)):
            if stop > start or start == 0:
                part = np.arange(start, stop, dtype=kind)
                random.shuffle(part)
                samples.append(part)
        return np.concatenate(documents), np.concatenate(samples)

    @cached_property
    def _stops(self) -> I64:
        return np.cumsum(self.lengths[self._indexes[0]])

    def sample(self, number: int) -> list[tuple[int, int, int]]:
        """Return the pieces of a sample's tokens, its last label included: (sequence, first token in it, tokens)."""
        documents, samples = self._indexes
        start = int(samples[number]) * self.sequence_length
        stop = start + self.sequence_length + 1
        found = []
        place = int(np.searchsorted(self._stops, start, side="right"))
        while start < stop and place < len(documents):
            sequence = int(documents[place])
            first = start - (int(self._stops[place]) - int(self.lengths[sequence]))
            take = min(stop - start, int(self.lengths[sequence]) - first)
            if take:
                found.append((sequence, first, take))
            start += take
            place += 1
        return found
