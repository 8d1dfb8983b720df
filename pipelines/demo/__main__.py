"""`python -m pipelines.demo --out FOLDER` builds the demo's data."""

import sys

from pipelines.demo.demo import main

if __name__ == "__main__":
    sys.exit(main())
