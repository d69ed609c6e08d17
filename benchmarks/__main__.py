"""All benchmarks of models, images and start-up, as one table: python -m benchmarks [--nanovlm PATH] [--quick]."""

from __future__ import annotations

import sys

from benchmarks import generate, kernels, load_images, startup, train
from benchmarks._harness import show

print("# each part says what it measures; all of it takes some ten minutes (--quick: two)", file=sys.stderr)
rows = []
for part in (startup, load_images, train, generate):
    print(f"# {part.__name__.rpartition('.')[2]} ...", file=sys.stderr)
    rows += part.main()
show(rows)
print("\nEach trick alone:\n")
print(kernels.main())
