"""`python -m pipelines` is `winnow`, so that an uploaded folder runs without being installed."""

from pipelines.cli.main import entry

if __name__ == "__main__":
    entry()
