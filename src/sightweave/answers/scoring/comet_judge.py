"""Runs inside the user's own COMET environment, and nowhere else: judges translations from standard input.

Reads one JSON object ``{"model": str, "batch_size": int, "rows": [{"src": str, "mt": str, "ref": str}, ...]}`` and writes
one, ``{"scores": [float, ...], "version": str}``, or ``{"missing": str}`` where COMET cannot be imported. Needs no
Sightweave, and any Python that COMET needs.
"""

import importlib.metadata
import json
import os
import sys


def main() -> None:
    """Reads, judges and writes."""
    # COMET and its libraries write to standard output as they like: what we say goes where it stood, theirs to the errors.
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    try:
        from comet import download_model, load_from_checkpoint  # type: ignore[import-not-found]  # of the other environment
        from torch.cuda import is_available
    except ImportError as error:
        json.dump({"missing": str(error)}, told)
        told.close()
        return
    model = asked["model"]
    judge = load_from_checkpoint(model if os.path.isfile(model) else download_model(model))
    found = judge.predict(
        asked["rows"],
        batch_size=asked["batch_size"],
        gpus=1 if is_available() else 0,
        progress_bar=False,
    )
    scores = [float(score) for score in found.scores]
    json.dump({"scores": scores, "version": importlib.metadata.version("unbabel-comet")}, told)
    told.close()


if __name__ == "__main__":
    main()
