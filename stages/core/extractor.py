"""What decides over the texts of WARC files: the extractor that a recipe names, and the versions of its packages."""

from __future__ import annotations

from importlib import metadata

from cluster.errors import RecipeError

EXTRACTORS = ("resiliparse", "trafilatura", "none")


def extractor(extract: str) -> str:
    """Return extractor and versions, for the addresses of what depends on its texts.

    Raises RecipeError where a package is missing.
    """
    packages = ["fastwarc", "resiliparse", *(["trafilatura"] if extract == "trafilatura" else [])]
    try:
        return " ".join([extract, *(f"{name} {metadata.version(name)}" for name in packages)])
    except metadata.PackageNotFoundError as error:
        raise not_installed(str(error)) from None


def not_installed(what: str) -> RecipeError:
    """Build the error for a package that WARC files need and that is not there."""
    return RecipeError(
        f"WARC files need a package that is not installed ({what}). Install winnow-mix[warc], and for "
        "`extract: trafilatura` winnow-mix[trafilatura], here and on every worker."
    )
