"""A certificate made for one run: nobody without it can send tasks to the run's scheduler and workers.

Dask runs what it is sent, so a port that other users of a machine can reach is a way to run code as oneself.

    python -m cluster.kinds.certificate FOLDER      # cert.pem and key.pem for the processes of a batch script

Guarantees: keys are held in memory, or in files that only their owner can read.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def temporary() -> Any:
    """Return a Security with a certificate of its own, or None where Python lacks `cryptography`."""
    from distributed.security import Security

    try:
        return Security.temporary()  # type: ignore[no-untyped-call]
    except ImportError:
        return None


def keywords() -> dict[str, Any]:
    """Return what a Dask cluster object is given so that its connections are encrypted."""
    made = temporary()
    return {} if made is None else {"security": made, "protocol": "tls://"}


def write(folder: str) -> None:
    """Write cert.pem and key.pem into a new folder. Raises FileExistsError and, without `cryptography`, ImportError."""
    from distributed.security import Security

    made: Any = Security.temporary()  # type: ignore[no-untyped-call]
    os.makedirs(folder, mode=0o700)
    for name, text in (("cert.pem", made.tls_ca_file), ("key.pem", made.tls_client_key)):
        descriptor = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)


if __name__ == "__main__":
    write(sys.argv[1])
