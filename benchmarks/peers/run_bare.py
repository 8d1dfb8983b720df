"""The floor of any deduplication: read the Parquet files, write every row again."""

from __future__ import annotations

import protocol

if __name__ == "__main__":
    options = protocol.arguments()
    protocol.rewrite(options.input, options.output, lambda batch: batch)
