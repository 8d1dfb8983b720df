"""MinHash signatures as facts, with the bits of cuDF's `Series.str.minhash`, or by one-permutation hashing.

Guarantees: a signature depends on the text and this stage's parameters alone. Drops nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.seed import DEFAULT_SEED
from stages.core.arrays import whole
from stages.core.stage import ShardStage, param
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity import minhash as kernel
from stages.kernels.text.normalise import HOW, normalise
from stages.kernels.text.normalise import problem as normalisation_problem

MAX_PERMUTATIONS = 4096  # 16 kB for every document, for estimates within 0.8 %
MAX_SHINGLES = 20_000_000  # beyond this a signature of 32-bit hashes saturates: see kernels/similarity/minhash.py


@dataclass(frozen=True, kw_only=True)
class MinHash(ShardStage):
    """Reads text / Writes one signature per document / Drops nothing."""

    shingle_width: int = param(24, "characters (or words) in a shingle", fact=True, ge=1, le=10_000)
    num_permutations: int = param(128, "slots of a signature", fact=True, ge=1, le=MAX_PERMUTATIONS)
    seed: int = param(DEFAULT_SEED, "seed of the permutations, with oph of the hash", fact=True, ge=0, le=(1 << 32) - 1)
    parameters: str = param(
        "nemo", "how permutations are generated", fact=True, choices=("nemo", "zyda2_seeds", "explicit")
    )
    hash_bits: int = param(32, "bits of a hash", fact=True, choices=(32, 64))
    hash_seed: int | None = param(None, "Murmur seed (parameters: explicit)", fact=True, ge=0, le=(1 << 32) - 1)
    a: tuple[int, ...] = param((), "multipliers (parameters: explicit)", fact=True)
    b: tuple[int, ...] = param((), "addends (parameters: explicit)", fact=True)
    shingles: str = param("characters", "what a shingle is made of", fact=True, choices=("characters", "words"))
    normalise: str = param("none", "what to even out before hashing: " + HOW, fact=True)
    sketch: str = param(
        "permutations",
        "permutations: a hash of each shingle for every slot, cuDF's bits; oph: one hash a shingle, "
        "one-permutation hashing with optimal densification (num_permutations bins)",
        fact=True,
        added=True,
        choices=("permutations", "oph"),
    )
    max_shingles: int = param(
        MAX_SHINGLES, "longer texts are sampled down to about this many shingles", fact=True, ge=1
    )

    use: ClassVar[str] = "minhash"
    summary: ClassVar[str] = "MinHash signatures for near deduplication"
    device_expansion: ClassVar[float] = 10.0  # texts, and a hash of up to 8 bytes for each of their bytes

    def validate(self) -> None:
        if wrong := normalisation_problem(self.normalise):
            raise self.error("normalise", self.normalise, wrong)
        if self.shingles == "characters" and self.shingle_width < 2:
            raise self.error("shingle_width", self.shingle_width, "at least 2 characters")
        explicit = self.parameters == "explicit"
        if explicit and not (len(self.a) == len(self.b) == self.num_permutations):
            given = f"{len(self.a)} values of a and {len(self.b)} of b"
            raise self.error("a and b", given, f"num_permutations ({self.num_permutations}) numbers each")
        if not explicit and (self.a or self.b or self.hash_seed is not None):
            raise self.error("parameters", self.parameters, "explicit where a, b or hash_seed are given")
        if self.parameters == "zyda2_seeds" and (self.hash_bits != 32 or self.shingles != "characters"):
            raise self.error("parameters", "zyda2_seeds", "used with hash_bits 32 and shingles characters")
        if self.sketch == "oph" and self.parameters != "nemo":
            raise self.error("parameters", self.parameters, "left out with sketch: oph, which permutes nothing")

    @property
    def schema(self) -> pa.Schema:  # its width is a parameter
        value = pa.uint32() if self.hash_bits == 32 else pa.uint64()
        return pa.schema([("signature", pa.list_(value, self.num_permutations))])

    @property
    def host_text(self) -> bool:  # cuDF has no such normalisation or sketch, and its shingles of words are others
        return self.normalise != "none" or self.shingles != "characters" or self.sketch == "oph"

    @property
    def least_slots(self) -> int:
        """Independent slots that estimate with the deviation of these, at worst.

        Of few shingles in bins some slots are copies: simulated, an estimate of 2 to 128 shingles in 128 bins has up to
        twice the variance of as many permutations (one_permutation.py; docs/benchmarks.md).
        """
        return max(1, self.num_permutations // 2) if self.sketch == "oph" else self.num_permutations

    def annotate(self, documents: pa.Table) -> pa.Table:
        matrix = self.signatures(normalise(whole(documents.column("text")), self.normalise))
        values = pa.array(np.ascontiguousarray(matrix).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(values, self.num_permutations)
        return pa.table([column.cast(self.schema.field(0).type)], schema=self.schema)

    def signatures(self, text: pa.Array) -> npt.NDArray[np.unsignedinteger]:
        """Return the signatures of texts, (docs, num_permutations) uint32 or uint64."""
        data, offsets = buffers(text)
        if self.sketch == "oph":
            return kernel.one_permutation(
                data,
                offsets,
                self.num_permutations,
                self.shingle_width,
                seed=self.seed,
                bits=self.hash_bits,
                max_shingles=self.max_shingles,
                words=self.shingles == "words",
            )
        if self.parameters == "zyda2_seeds":
            seeds = kernel.zyda2_seeds(self.num_permutations, self.seed)
            return kernel.signatures_by_seeds(data, offsets, seeds, self.shingle_width, self.max_shingles)
        if self.shingles == "words":
            return kernel.signatures_words(data, offsets, self.family, self.shingle_width)
        return kernel.signatures(data, offsets, self.family, self.shingle_width, self.max_shingles)

    @functools.cached_property
    def family(self) -> kernel.Parameters:
        """The hash family: seed of MurmurHash3, multipliers and addends of the permutations."""
        if self.parameters == "explicit":
            return kernel.explicit(self.hash_seed or 0, self.a, self.b, self.hash_bits)
        return kernel.nemo_parameters(self.num_permutations, self.seed, self.hash_bits)
