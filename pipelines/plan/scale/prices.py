"""List prices and limits of storage, by kind. The one place where a price is written down; `--prices` overrides it.

Prices are in US dollars without tax, of the first tier, in the region each provider lists first; they were read in
2026-11 and change. Storage of a file system is taken to cost nothing more than the machine it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cluster import storage
from cluster.errors import RecipeError
from cluster.requests import KINDS, Requests

StoreKind = Literal["s3", "gcs", "lustre", "local"]
AS_OF = "2026-11"
DAYS_PER_MONTH = 30.0


@dataclass(frozen=True, kw_only=True)
class Store:
    """A kind of storage. thousand: price of a thousand requests by kind; tb_month: of a terabyte for a month.

    latency: seconds until the first byte of a request. puts, gets: requests per second of one prefix, 0 without limit.
    """

    kind: StoreKind
    thousand: Mapping[str, float]
    tb_month: float
    latency: float
    puts: float = 0.0
    gets: float = 0.0

    @property
    def is_object_store(self) -> bool:
        """Whether files are sent and fetched whole, from a temporary folder, instead of mapped."""
        return self.kind in ("s3", "gcs")

    @property
    def counts(self) -> bool:
        """Whether what it is asked for is worth counting: it costs money, or every look goes to a server."""
        return self.kind != "local"

    def price(self, requests: Requests) -> float:
        """Return the price of requests in dollars."""
        return sum(number / 1000 * self.thousand[kind] for kind, number in requests.by_kind().items())


FREE = dict.fromkeys(KINDS, 0.0)
STORES = {
    store.kind: store
    for store in (
        # S3 Standard, us-east-1: PUT, LIST 0.005, GET, HEAD 0.0004 a thousand; 0.023 a GB-month
        Store(
            kind="s3",
            thousand={"put": 0.005, "get": 0.0004, "list": 0.005, "head": 0.0004, "delete": 0.0},
            tb_month=23.0,
            latency=0.03,
            puts=3500.0,
            gets=5500.0,
        ),
        # Cloud Storage Standard, us-central1: class A (insert, list) 0.005, class B (get, head) 0.0004 a thousand
        Store(
            kind="gcs",
            thousand={"put": 0.005, "get": 0.0004, "list": 0.005, "head": 0.0004, "delete": 0.0},
            tb_month=20.0,
            latency=0.05,
            puts=1000.0,
            gets=5000.0,
        ),
        Store(kind="lustre", thousand=FREE, tb_month=0.0, latency=0.001),
        Store(kind="local", thousand=FREE, tb_month=0.0, latency=0.0),
    )
}
SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


def store_of(run_dir: str | None, kind: str | None, prices: str | None = None) -> Store:
    """Return the storage of a run: as asked for, else by the run folder's URL, else this machine's.

    prices : overrides, such as "put=0.004,get=0.0003,tb-month=18" (dollars a thousand requests, a TB-month).

    Raises RecipeError for a kind or a price that is not known.
    """
    if kind is None:
        scheme = "" if not run_dir or storage.is_local(run_dir) else run_dir.partition("://")[0]
        kind = SCHEMES.get(scheme, "s3" if scheme else "local")
    found = next((store for name, store in STORES.items() if name == kind), None)
    if found is None:
        raise RecipeError(f"--store must be one of {', '.join(STORES)}, got {kind!r}.")
    return _with_prices(found, prices) if prices else found


def _with_prices(store: Store, prices: str) -> Store:
    thousand, month = dict(store.thousand), store.tb_month
    for part in prices.split(","):
        name, _, value = (text.strip() for text in part.partition("="))
        try:
            price = float(value)
        except ValueError:
            price = -1.0
        if name not in (*KINDS, "tb-month") or not 0 <= price < float("inf"):
            raise RecipeError(
                f"--prices: {part!r} is no price. Write KIND=DOLLARS, with a kind of {', '.join(KINDS)} (a thousand "
                "requests) or tb-month, such as put=0.004,tb-month=18."
            )
        if name == "tb-month":
            month = price
        else:
            thousand[name] = price
    return replace(store, thousand=thousand, tb_month=month)
