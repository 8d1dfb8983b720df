"""`python -m winnow` is `winnow`."""

from pipelines.cli.main import entry

if __name__ == "__main__":
    entry()
