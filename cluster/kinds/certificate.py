"""TLS certificate made for one run: a client without it cannot send tasks to the run's scheduler and workers.

Dask executes any task it receives, so an open port would let other users of a machine run code as this user.

    python -m cluster.kinds.certificate FOLDER      # cert.pem and key.pem for the processes of a batch script

Guarantees: keys are held in memory, or in files that only their owner can read.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def temporary_security() -> Any:
    """Return a distributed.Security with a new self-signed certificate, or None where `cryptography` is missing."""
    from distributed.security import Security

    try:
        return Security.temporary()  # type: ignore[no-untyped-call]
    except ImportError:
        return None


def tls_keywords() -> dict[str, Any]:
    """Return the keyword arguments of a Dask cluster class that encrypt its connections."""
    made = temporary_security()
    return {} if made is None else {"security": made, "protocol": "tls://"}


def write_certificate(folder: str) -> None:
    """Write cert.pem and key.pem into a new folder. Raises FileExistsError and, without `cryptography`, ImportError."""
    from distributed.security import Security

    made: Any = Security.temporary()  # type: ignore[no-untyped-call]
    os.makedirs(folder, mode=0o700)
    for name, text in (("cert.pem", made.tls_ca_file), ("key.pem", made.tls_client_key)):
        descriptor = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)


if __name__ == "__main__":
    write_certificate(sys.argv[1])
