"""Four extractions, schemas and file layouts: the ones of DCLM, FineWeb-Edu, Dolma and Zyda-1.

Guarantees: column names, nesting, formats and folders are those of the real datasets; the values that
those got from a crawl or a model are placeholders made by a simple rule from the page's address.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipelines.demo.text import GOOD, JUNK, PLAIN, Page, paragraphs, unit

Row = dict[str, Any]
DUMPS = ("CC-MAIN-2018-17", "CC-MAIN-2021-04", "CC-MAIN-2023-23")
BUCKETS = ("head", "middle", "tail")
ZYDA_PARTS = ("zyda_c4-en", "zyda_refinedweb", "zyda_slimpajama")
WARC_FIELDS = (
    "Content-Length",
    "Content-Type",
    "WARC-Block-Digest",
    "WARC-Concurrent-To",
    "WARC-Date",
    "WARC-IP-Address",
    "WARC-Identified-Payload-Type",
    "WARC-Payload-Digest",
    "WARC-Record-ID",
    "WARC-Target-URI",
    "WARC-Truncated",
    "WARC-Type",
    "WARC-Warcinfo-ID",
)


def main_content(page: Page) -> str:
    """Extract as DCLM does: the main content; one page in eight lost its last sentence."""
    text = "\n\n".join(paragraphs(page.text))
    cut = re.match(r"(?s)(.{200,}[.!?])\s+\S.*$", text)
    return cut.group(1) if cut and unit(page.url, "cut") < 0.125 else text


def precise_content(page: Page) -> str:
    """Extract as FineWeb-Edu does: paragraphs of a few words are taken for decoration."""
    found = paragraphs(page.text)
    return "\n".join([block for block in found if len(block.split()) >= 5] or found)


def whole_page(page: Page) -> str:
    """Extract as Dolma does: the whole page, title, menu and footer included."""
    host = page.url.split("/")[2]
    menu = f"Start | Contents | Search | {page.language.upper()}"
    return "\n".join([page.title, menu, *paragraphs(page.text), f"Back to the top of {host}"])


def generous_content(page: Page) -> str:
    """Extract as Zyda-1's parts do: title and text, or (three in ten) C4's rule of whole sentences.

    The rule leaves nothing of some pages; such documents stay in, with an empty text.
    """
    found = paragraphs(page.text)
    if unit(page.url, "c4") < 0.3:
        return "\n".join(block for block in found if len(block.split()) >= 5 and block[-1] in '.!?"')
    return "\n".join([page.title, *found])


def dclm_row(page: Page, text: str, url: str) -> Row:
    """Return a row in DCLM's schema."""
    names: dict[str, str | None] = dict.fromkeys(WARC_FIELDS)
    names |= {"WARC-Type": "response", "WARC-Target-URI": url, "Content-Type": "text/html"}
    names["WARC-Record-ID"] = record_id(url, "dclm")
    names["Content-Length"] = str(len(text.encode()))
    low, high = {GOOD: (0.2, 0.95), PLAIN: (0.02, 0.6), JUNK: (0.0, 0.1)}[page.grade]
    return {
        "bff_contained_ngram_count_before_dedupe": 0,
        "language_id_whole_page_fasttext": {"en": 0.95 if page.language == "en" else 0.02},
        "metadata": names,
        "previous_word_count": len(text.split()),
        "text": text,
        "url": url,
        "warcinfo": "description: demo text, crawl fields are placeholders",
        "fasttext_openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train_prob": low
        + (high - low) * unit(url, "probability"),
    }


def fineweb_row(page: Page, text: str, url: str) -> Row:
    """Return a row in FineWeb-Edu's schema; scores start at 2, as in the score-2 release."""
    low, high = {GOOD: (2.3, 4.6), PLAIN: (1.6, 3.4), JUNK: (1.5, 2.4)}[page.grade]
    score = low + (high - low) * unit(page.url, "score")
    dump = DUMPS[int(len(DUMPS) * unit(url, "dump"))]
    return {
        "text": text,
        "id": record_id(url, "fineweb_edu"),
        "dump": dump,
        "url": url,
        "file_path": f"s3://commoncrawl/crawl-data/{dump}/demo.warc.gz",
        "language": "en",
        "language_score": 0.95,
        "token_count": max(1, len(text) // 4),
        "score": score,
        "int_score": round(score),
    }


def dolma_row(page: Page, text: str, url: str) -> Row:
    """Return a row in Dolma's schema; the id is the URL."""
    bucket = {GOOD: "head", PLAIN: "middle", JUNK: "tail"}[page.grade]
    return {
        "id": url,
        "text": text,
        "source": "common-crawl",
        "version": "v0",
        "added": "2023-04-11T09:57:03+00:00",
        "created": "2021-08-03T17:48:41Z",
        "metadata": {
            "bucket": bucket,
            "cc_segment": "crawl-data/demo.warc.wet.gz",
            "language": "en",
            "length": len(text),
            "nlines": text.count("\n") + 1,
            "source_domain": url.split("/")[2],
            "title": page.title,
            "url": url,
        },
    }


def zyda_row(page: Page, text: str, url: str) -> Row:
    """Return a row in Zyda-1's schema: two columns hold JSON."""
    words = text.split()
    features = {"length": len(text), "num_words": len(words)}
    return {
        "text": text,
        "source": ZYDA_PARTS[int(len(ZYDA_PARTS) * unit(page.url, "part"))],
        "filtering_features": json.dumps(features),
        "source_other": json.dumps({"url": url, "base_row": int(1e6 * unit(url, "row"))}),
    }


@dataclass(frozen=True, kw_only=True)
class Source:
    """How a page comes into one dataset, and how likely it is to be there at all."""

    extract: Callable[[Page], str]
    row: Callable[[Page, str, str], Row]
    write: Callable[[Path, list[Row]], None]
    share: dict[str, float]  # by grade


def record_id(url: str, dataset: str) -> str:
    """Return an identifier in the form of a WARC record's."""
    digits = "".join(f"{int(2**32 * unit(url, dataset, part)):08x}" for part in "abcd")
    return f"<urn:uuid:{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}>"


def write_dclm(folder: Path, rows: list[Row]) -> None:
    """Write three Parquet files and one JSONL.zst file, as a local shard of DCLM mixes them."""
    shard = folder / "global-shard_01_of_10" / "local-shard_0_of_10"
    quarter = -(-len(rows) // 4)
    for number in range(3):
        part = rows[number * quarter : (number + 1) * quarter]
        write_parquet(shard / f"shard_{number:08}_processed.parquet", part)
    data = zstandard.ZstdCompressor().compress(json_lines(rows[3 * quarter :]))
    (shard / "shard_00000003_processed.jsonl.zst").write_bytes(data)


def write_fineweb(folder: Path, rows: list[Row]) -> None:
    """Write one Parquet file per crawl."""
    for dump in DUMPS:
        part = [row for row in rows if row["dump"] == dump]
        write_parquet(folder / "data" / dump / "train-00000-of-00001.parquet", part)


def write_dolma(folder: Path, rows: list[Row]) -> None:
    """Write one gzipped JSONL file per perplexity bucket; no time stamp in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for bucket in BUCKETS:
        part = [row for row in rows if row["metadata"]["bucket"] == bucket]
        (folder / f"cc_en_{bucket}-0000.json.gz").write_bytes(gzip.compress(json_lines(part), mtime=0))


def write_zyda(folder: Path, rows: list[Row]) -> None:
    """Write one Parquet file per component."""
    for name in ZYDA_PARTS:
        part = [row for row in rows if row["source"] == name]
        write_parquet(folder / "data" / "zyda_no_starcoder" / name / "train-00000-of-00001.parquet", part)


def write_parquet(path: Path, rows: list[Row]) -> None:
    """Write rows to a Parquet file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")


def json_lines(rows: Iterable[Row]) -> bytes:
    """Return one JSON object per line, UTF-8."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


SOURCES = {
    "dclm": Source(
        extract=main_content,
        row=dclm_row,
        write=write_dclm,
        share={GOOD: 0.35, PLAIN: 0.4, JUNK: 0.2},
    ),
    "fineweb_edu": Source(
        extract=precise_content,
        row=fineweb_row,
        write=write_fineweb,
        share={GOOD: 0.35, PLAIN: 0.25, JUNK: 0.05},
    ),
    "zyda1": Source(
        extract=generous_content,
        row=zyda_row,
        write=write_zyda,
        share={GOOD: 0.25, PLAIN: 0.3, JUNK: 0.3},
    ),
    "dolma_cc": Source(
        extract=whole_page,
        row=dolma_row,
        write=write_dolma,
        share={GOOD: 0.3, PLAIN: 0.4, JUNK: 0.6},
    ),
}
