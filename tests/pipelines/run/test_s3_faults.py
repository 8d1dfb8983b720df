"""A store that fails, delays, cuts answers short and resets connections: the same bytes, or an error and then the same.

Inputs and run folder lie in an object store behind a proxy that disturbs chosen requests (tests/support/s3_proxy.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cluster import storage
from cluster.errors import WinnowError
from pipelines.commands.verify import verify
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.support import archives
from tests.support.s3_proxy import FAULTS, Proxy
from tests.support.s3_server import forget_sessions, serving

s3fs = pytest.importorskip("s3fs", reason="needs the dev extra: pip install -e '.[dev]'")

STAGES = [{"use": "exact_dedup"}, {"use": "quality", "model": "column:score", "min_score": 0.3}]
# fault -> share of the run's requests before the one that it strikes; nightly, every fault strikes every request
SOME = {"503": 0.5, "cut": 0.15, "done, then reset": 0.8}


@dataclass(frozen=True)
class Store:
    """A bucket behind a proxy, the recipe whose inputs lie there, and what a run that nothing disturbs makes."""

    proxy: Proxy
    recipe: dict[str, Any]
    requests: int
    right: dict[str, str]

    def run(self, name: str) -> str:
        """Run the recipe in a folder of the bucket; return the error that the command line would show, or nothing."""
        try:
            runner.run(load_data(self.recipe, "small"), f"s3://disturbed/{name}", with_report=False)
        except (WinnowError, OSError) as error:  # any other would be a traceback
            return str(error) or type(error).__name__
        return ""


def result(root: str) -> dict[str, str]:
    """Return the digest of every file of ledger and mix."""
    fs, inner = storage.filesystem(root)
    paths = [path for place in ("ledger", "mix") for path in fs.find(f"{inner}/{place}")]
    wanted = [path for path in paths if path.endswith((".parquet", "manifest.json"))]
    return {path.partition(inner)[2]: hashlib.sha256(fs.cat_file(path)).hexdigest() for path in sorted(wanted)}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with serving() as server, pytest.MonkeyPatch.context() as patch, Proxy(*server).running() as proxy:
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # clients try again for up to a minute, which would hide every fault
        patch.setattr(s3fs.S3FileSystem, "retries", 1)
        fs = s3fs.S3FileSystem(use_listings_cache=False)
        fs.mkdir("disturbed")
        rows = [{"text": f"text number {n % 5}", "id": f"{n}", "score": n / 9} for n in range(9)]
        for name, kind in (("a/1.parquet", "parquet"), ("b/2.jsonl.gz", "jsonl.gz")):
            fs.pipe_file(f"disturbed/in/{name}", archives.made(rows, kind))
        datasets = {name: {"paths": f"s3://disturbed/in/{name}", "columns": {"id": "id"}} for name in "ab"}
        recipe = {"datasets": datasets, "stages": STAGES, "cluster": {"kind": "inline"}}
        found = Store(proxy, recipe, 0, {})
        with proxy.faulty(lambda *_: ""):
            assert found.run("right") == ""
        yield Store(proxy, recipe, proxy.count, result("s3://disturbed/right"))
        forget_sessions()  # before the proxy goes


def strike(store: Store, fault: str, at: int) -> str:
    """Disturb one request of a run; hold it and the next run to the promise; return what the first said."""
    name = f"{fault}-{at}".replace(", ", "-").replace(" ", "-")
    with store.proxy.faulty(lambda number, method, path: fault if number == at else ""):
        said = store.run(name)
        about = (fault, at, store.proxy.seen[at : at + 1], said)
    if said:
        assert store.run(name) == "", about
    assert result(f"s3://disturbed/{name}") == store.right, about
    assert verify(f"s3://disturbed/{name}")["faults"] == [], about
    fs, inner = storage.filesystem(f"s3://disturbed/{name}")
    fs.rm(inner, recursive=True)
    return said


@pytest.mark.parametrize("fault", SOME)
def test_a_disturbed_request_gives_the_same_bytes_or_an_error(store: Store, fault: str) -> None:
    strike(store, fault, int(store.requests * SOME[fault]))


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_request_may_be_disturbed(store: Store, fault: str) -> None:
    said = [strike(store, fault, at) for at in range(store.requests)]
    assert any(said) == (fault != "delay")


@pytest.mark.nightly
@pytest.mark.parametrize("fault", ["503", "reset"])
def test_a_store_that_is_gone_is_a_sentence_and_the_next_run_goes_on(store: Store, fault: str) -> None:
    """All requests fail from some point on."""
    with store.proxy.faulty(lambda number, method, path: fault if number > store.requests // 2 else ""):
        assert store.run(f"gone-{fault}")
    assert store.run(f"gone-{fault}") == ""
    assert result(f"s3://disturbed/gone-{fault}") == store.right
