"""Scores translations from standard input; runs only inside the user's own COMET environment.

Reads one JSON object ``{"model": str, "batch_size": int, "rows": [{"src": str, "mt": str, "ref": str}, ...]}`` and writes
one, ``{"scores": [float, ...], "version": str}``, or ``{"missing": str}`` if COMET cannot be imported. Does not need
Sightweave, only a Python version that COMET supports.
"""

import importlib.metadata
import json
import os
import sys


def main() -> None:
    """Reads the request, scores its rows and writes the scores."""
    # COMET and its libraries print to standard output. Send that to standard error, because our reply must be alone.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.buffer.read().decode("utf-8"))

    try:
        from comet import download_model, load_from_checkpoint  # type: ignore[import-not-found]  # in the other environment
        from torch.cuda import is_available
    except ImportError as error:
        json.dump({"missing": str(error)}, output)
        output.close()
        return

    model = request["model"]
    scorer = load_from_checkpoint(model if os.path.isfile(model) else download_model(model))
    prediction = scorer.predict(
        request["rows"],
        batch_size=request["batch_size"],
        gpus=1 if is_available() else 0,
        progress_bar=False,
    )

    scores = [float(score) for score in prediction.scores]
    json.dump({"scores": scores, "version": importlib.metadata.version("unbabel-comet")}, output)
    output.close()


if __name__ == "__main__":
    main()
