"""How much of a file may be taken for one thing, so that a small hostile file cannot fill memory or disk.

65 kB of zstd can stand for 8 GB, and a text without a line break for one line of any length. The longest lines of web
corpora have some 50 MB.
"""

from __future__ import annotations

PIECE = 4 << 20  # decompressed bytes that are made at a time, where the codec can stop
ZSTD_STEP = 2 << 10  # compressed bytes at a time: at most 64 MB, since a block of 4 bytes may stand for 128 kB
LONGEST = 256 << 20  # bytes of a line, a value, a field or a record
LARGEST_SIDE_FILE = 1 << 30  # bytes of a list, a tokenizer or another file that is read as a whole
LARGEST_MODEL = 64 << 30  # bytes that a compressed model may become on the disk
EXPANSION = 200  # decompressed bytes that a compressed one of an input may stand for; real text stays below 100
ROWS_PER_BYTE = 10  # rows that a stored byte may stand for; real ones have some 100 bytes each
FREE_BYTES, FREE_ROWS = 64 << 20, 1 << 20  # of any stretch of a file that are not held to this
