"""Rates of kernels on a GPU that no GPU has shown: on paper, from instruction counts and memory traffic.

An H100 SXM is meant (NVIDIA's data sheet: 132 multiprocessors of four schedulers, 3.35 TB/s, PCIe 5.0 x16). A kernel
is as fast as the slower of its instructions and its memory traffic. Instructions of winnow's own kernels were counted
by valgrind on the same sources compiled for x86-64, on web text of 3.8 kB a document (2026-11); those of cuDF are
estimated. What is taken off for stalls, idle lanes and traffic in small pieces is a guess, named below.
"""

from __future__ import annotations

from dataclasses import dataclass

LABEL = "on paper, not measured: an H100 SXM, from instruction counts and memory traffic"
SCHEDULERS = 132 * 4  # of one GPU
CLOCK = 1.6e9  # a second; the data sheet's boost is 1.98
ISSUE = 0.4  # share of cycles in which a scheduler issues: a guess
LANES = 8  # of 32 that work where each thread has a document of its own: a guess
MEMORY = 0.5 * 3.35e12  # bytes a second: half of what the data sheet says, a guess
DIVISION = 20  # instructions of a GPU for a division, one of a CPU
BUS = 50e9  # bytes a second from host to device, of 64 on the data sheet
OUT = 10e9  # bytes a second from the device to memory of the host that is not pinned: a guess
MODEL_CORES = 400  # whose forward passes one GPU does: 0.3 PFLOP/s, 30 % of its bf16, against 0.75 TFLOP/s of a core
# Bytes a second that a node reads from its own disks: eight NVMe drives of 3.84 TB, as a DGX H100 has beside its 112
# cores (NVIDIA's reference architecture of DGX BasePOD), and an AWS p5.48xlarge; of each 6.25 GB/s, of the 8 of four
# lanes of PCIe 4.0: a guess.
DISK = 50e9


@dataclass(frozen=True, kw_only=True)
class Paper:
    """What a kernel does for a byte of text: instructions of a warp, bytes of traffic. source: of these numbers."""

    instructions: float
    traffic: float
    source: str

    @property
    def bytes_per_second(self) -> float:
        """Bytes of text a second on one GPU."""
        return min(SCHEDULERS * CLOCK * ISSUE / self.instructions, MEMORY / self.traffic)


def _own(instructions: float, traffic: float, *, by_thread: bool = True) -> Paper:
    """Return what was counted of a kernel of winnow's own; by_thread: each thread has a document."""
    many = f"{instructions:g} instructions and {traffic:g} bytes of traffic a byte of text, counted on x86-64"
    if not by_thread:
        return Paper(instructions=instructions, traffic=traffic, source=f"{many}; a warp has a document")
    source = f"{many}; a thread has a document, {LANES} of 32 work"
    return Paper(instructions=instructions / LANES, traffic=traffic, source=source)


def _fasttext(words: float, sums: float, traffic: float, lanes: float) -> Paper:
    """Return what was counted of fasttext_words.cu, and of the columns in fasttext_sums.cu; lanes: of 32 that work."""
    source = (
        f"{words:g} and {sums:g} instructions and {traffic:g} bytes of traffic a byte of text, counted on x86-64, with "
        f"divisions of {DIVISION}; a thread has a word or n-grams, {LANES} of 32 work; then a column, {lanes:g} work"
    )
    return Paper(instructions=words / LANES + sums / lanes, traffic=traffic, source=source)


def _estimated(instructions: float, traffic: float, what: str) -> Paper:
    return Paper(instructions=instructions, traffic=traffic, source=f"estimated: {what}")


# by the name under which cluster.device.kernel_times knows the host's
KERNELS = {
    "read_parquet": _estimated(60, 60, "zstd as slow as 5 GB/s, then twelve passes over the text"),
    "judge_texts": _estimated(12, 30, "the passes that tell UTF-8, white space and characters"),
    "gather_texts": _estimated(1, 6, "cuDF's gather of rows: their texts read and written, a warp has a text"),
    "content_hash": _estimated(1, 4, "two XXH64, a thread has a document"),
    "text_digest": _estimated(4, 2, "SHA-256, 30 instructions a byte, a thread has a document"),
    "signatures": _estimated(70, 40, "cuDF, 128 permutations of 16 instructions for a character, and its hash"),
    "signatures_by_seeds": _own(720, 8, by_thread=False),  # 180 for each of the four warps that 128 seeds take
    "heuristic_counts": _own(159, 200),
    "script_places": _own(9, 4),
    "line_rows": _own(97, 10),  # both calls
    "repair_marks": _own(10, 20),
    # lid.176: n-grams of 2 to 4, 3 divisions a byte; two documents of 16 columns in a warp take the same branches.
    # Traffic: slots written and read 32, n-grams looked up 150, their rows 100.
    "fasttext_sums": _fasttext(262 + 3 * DIVISION, 16 * 54, 300, lanes=32),
    # Words and pairs of them, two labels, a division a pair; 16 documents in a warp. Slots 24, look-ups and rows 36.
    "fasttext_word_sums": _fasttext(100, 2 * (33 + DIVISION), 60, lanes=LANES),
}


def rate(kernel: str, permutations: float = 128.0) -> float:
    """Return the bytes of text a second of a kernel on one GPU; permutations: of signatures, of 32 bits each.

    >>> [round(rate(name) / 1e9, 1) for name in ("heuristic_counts", "fasttext_sums")]
    [8.4, 5.0]
    """
    found = KERNELS[kernel].bytes_per_second
    return found * 128.0 / permutations if kernel.startswith("signatures") else found
