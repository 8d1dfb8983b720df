"""Where credentials belong, and that they are not in a path or an address that is kept.

Guarantees: the secret itself is in no message.
"""

from __future__ import annotations

from cluster.errors import RecipeError
from cluster.redaction import secret_in

REMEDY = (
    "File systems find credentials in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "AZURE_STORAGE_SAS_TOKEN, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN), in their own files (~/.aws/credentials, "
    "~/.netrc) or in fsspec's configuration (~/.config/fsspec)."
)


def check_place(path: str, what: str) -> None:
    """Raise RecipeError where a path that the user named on the command line, and that is kept, holds a secret."""
    if found := secret_in(path):
        raise RecipeError(f"{what} {path} must hold no secret, and holds {found}. {REMEDY}")
