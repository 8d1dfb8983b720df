"""`python -m pipelines` is `winnow`, so that an uploaded folder runs without being installed."""

import os
import sys


def _leave_working_folder() -> None:
    """Take the working folder, which `-m` puts first, off the path, unless winnow itself lies there."""
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if not sys.flags.safe_path and os.path.realpath(sys.path[0] or os.curdir) == os.path.realpath(os.curdir) != home:
        del sys.path[0]


if __name__ == "__main__":
    _leave_working_folder()

    from pipelines.cli.main import entry

    entry()
