"""All benchmarks of models, data and start-up, as one table: python -m benchmarks [--nanovlm PATH] [--quick]."""

from __future__ import annotations

import os
import sys

from benchmarks import check_data, generate, kernels, load_images, pack, startup, train
from benchmarks._harness import show


def main() -> None:
    print(
        "# each part says what it measures; all of it takes some ten minutes (--quick: two)", file=sys.stderr
    )
    rows = []
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    for part in (startup, load_images, check_data, pack, train, generate):
        print(f"# {part.__name__.rpartition('.')[2]} ...", file=sys.stderr)
        rows += part.main()
        if cores is not None:
            os.sched_setaffinity(0, cores)  # a part may have bound this process to one core
    show(rows)
    print("\nEach trick alone:\n")
    print(kernels.main())


# Workers that are started afresh import this file, too.
if __name__ == "__main__":
    main()
