"""The data formats that this winnow reads: the number in artefacts is known, or they are refused."""

from __future__ import annotations

from cluster.errors import LedgerError
from cluster.version import VERSION
from stages.core.digests import DATA_FORMAT


def check_format(found: object, what: str) -> None:
    """Raise LedgerError unless the data format of an artefact is one that this winnow reads; None: it names none.

    found : the number, or its digits as text or bytes.
    """
    text = found.decode("ascii", "replace") if isinstance(found, bytes) else str(found)
    if found is not None and text != str(DATA_FORMAT):
        raise LedgerError(
            f"{what} has data format {text}, this winnow ({VERSION}) reads {DATA_FORMAT}. Use the winnow version that "
            "wrote it, or a newer one; the changelog names the data format of each version."
        )
