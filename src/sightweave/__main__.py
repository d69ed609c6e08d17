"""``python -m sightweave`` is the same as ``sightweave``."""

from sightweave.cli import main

if __name__ == "__main__":
    main()
