"""The command line: one small function per command, which calls the API and defines how its result is printed.

Nothing heavy is imported here: ``sightweave --help`` loads no torch, and neither does a wrong path.
"""

# No `from __future__ import annotations` here: Typer would have to evaluate every annotation from its text at each start.
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightweave.command_line import (
    Result,
    check_setting,
    command,
    data_of,
    json_line,
    refuse,
)
from sightweave.core import answer_files, catalog, cores, files, outputs, places, recipe_files, terminal
from sightweave.core.errors import SightweaveError
from sightweave.verbs import runs as run_list

if TYPE_CHECKING:
    from rich.console import Console

    from sightweave import json_results
    from sightweave.core.run_summary import RunSummary

app = typer.Typer(
    name="sightweave",
    help="Build, train, evaluate and use vision-language models assembled from interchangeable parts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Inspect, check and cache datasets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

_SIGNALLED = 128
"""Exit status after a signal, by the convention of shells: 128 plus its number (130 for Ctrl-C, 143 for SIGTERM)."""
RunArgument = Annotated[
    Path,
    typer.Argument(help="Run folder, as written by `sightweave train`.", callback=refuse(places.check_run)),
]
ImageArgument = Annotated[
    Path,
    typer.Argument(help="Image file: JPEG, PNG, WebP or GIF.", callback=refuse(places.check_picture)),
]
RecipeArgument = Annotated[
    Path,
    typer.Argument(
        help="Recipe: a YAML file, or a name from `sightweave recipes`, such as own.",
        callback=refuse(recipe_files.find),
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        help="Settings to override, such as model.fusion=concat seed=1 data=FOLDER.",
        callback=refuse(check_setting),
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        help='Dataset: a file or folder in any supported format, a source such as "{kind: scenes, seed: 1}", or - for '
        "JSON lines on standard input. Can be repeated.",
        callback=refuse(places.check_data),
    ),
]
DataArgument = Annotated[
    str,
    typer.Argument(
        help="Dataset: a file or folder in any supported format, a source as in a recipe, or - for JSON lines on standard "
        "input.",
        callback=refuse(places.check_data),
    ),
]
Decoding = Annotated[str, typer.Option(help="Decoding method: greedy, sampling or beam.")]
Tokens = Annotated[int, typer.Option(help="Maximum number of tokens per answer.")]
AnswerTokens = Annotated[
    int | None,
    typer.Option(
        help="Maximum number of tokens per answer; by default 96, and room for one image if the writer makes images."
    ),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(
        help="Text at which the answer ends; the text itself is left out. Can be repeated; the first match ends the answer."
    ),
]
Seed = Annotated[int, typer.Option(help="Random seed for sampling.")]
Temperature = Annotated[
    float | None, typer.Option(help="Sampling temperature; below 1 makes answers more predictable.")
]
TopK = Annotated[int | None, typer.Option(help="Sample only from the k most likely tokens.")]
TopP = Annotated[
    float | None,
    typer.Option(help="Sample only from the most likely tokens whose probabilities add up to this value."),
]
TrustRun = Annotated[
    bool,
    typer.Option(
        "--trust-run",
        help="Allow the run to import the Python modules and read the files named in its recipe.",
    ),
]
NumBeams = Annotated[int | None, typer.Option(help="Number of beams per prompt in beam search.")]


def _console() -> "Console":
    return terminal.console(stderr=True)


def _stdout() -> "Console":
    return terminal.console()


def echo(text: object = "", *, nl: bool = True, err: bool = False) -> None:
    """Prints text from any source, with control characters made visible."""
    typer.echo(terminal.visible(text), nl=nl, err=err)


def _decoding(
    decoding: str, temperature: float | None, top_k: int | None, top_p: float | None, num_beams: int | None
) -> Any:
    """The decoding method with its options; --num-beams implies beam search, the other options imply sampling."""
    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "num_beams": num_beams}
    fields = {name: value for name, value in given.items() if value is not None}
    if fields and decoding == "greedy":
        decoding = "beam" if "num_beams" in fields else "sampling"
    return {"kind": decoding, **fields}


def _processes() -> int:
    """Number of processes that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from sightweave import __version__

        echo(f"sightweave {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Build, train, evaluate and use vision-language models assembled from interchangeable parts."""


@command(app)
def train(
    recipe: RecipeArgument,
    settings: Settings = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default a new one under runs/.")] = None,
    evaluate: Annotated[bool, typer.Option(help="Evaluate on the held-out splits after training.")] = True,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an existing run in --out. Other files are never replaced."),
    ] = False,
    allow_changes: Annotated[
        bool,
        typer.Option(
            "--allow-changes",
            help="Resume an unfinished run in --out even if the recipe or the data has changed.",
        ),
    ] = False,
) -> Result:
    """Train a model from a recipe. Writes a run folder with a checkpoint, training curves and a report.

    To resume a run that was stopped or killed, run the same command again.
    """
    if out is not None:
        outputs.check_run(out, overwrite=overwrite)

    from sightweave import api

    run = api.train(
        recipe,
        *(settings or []),
        data=data_of(data),
        out=out,
        evaluate=evaluate,
        overwrite=overwrite,
        allow_changes=allow_changes,
        console=_console(),
    )

    if run.rank:  # process 0 prints the result
        return Result(lambda: iter(()), lambda: None, _status(run))

    def show() -> None:
        if evaluate and not run.is_interrupted:
            for one in _scores(run.folder):
                _show_scores(one, _console())
        echo(f"run: {run.folder}")
        echo(f"report: {run.folder}/report.html")

    return Result(lambda: _trained(run), show, _status(run))


def _trained(run: Any) -> "json_results.Trained":
    return {
        "run": str(run.folder),
        "report": f"{run.folder}/report.html",
        "interrupted": run.is_interrupted,
        "splits": [] if run.is_interrupted else [one.to_json() for one in _scores(run.folder)],
    }


def _status(run: Any) -> int:
    return _SIGNALLED + run.stop_signal if run.stop_signal else 0


def _scores(folder: Path | None) -> list[Any]:
    """The scores in a run folder; empty if no data was held out."""
    from sightweave.programs.evaluation.stored import EVALUATION, read_evaluations

    if folder is None or not (folder / EVALUATION).exists():
        return []
    return read_evaluations(folder)


def _show_scores(evaluation: Any, console: "Console") -> None:
    from sightweave.programs.evaluation.table import show

    show(evaluation, console)


@command(app)
def evaluate(
    who: Annotated[
        str,
        typer.Argument(
            help="What to evaluate: a run folder, a Transformers model folder, an endpoint (http://HOST/v1), "
            'a file of answers, or "{kind: endpoint, url: ..., model: ...}".',
            callback=refuse(places.check_who),
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings to override in evaluate, tasks or seed, such as evaluate.circular=true. To choose metrics, set "
            "tasks.TASK.metrics.",
            callback=refuse(check_setting),
        ),
    ] = None,
    data: Data = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Split to evaluate, such as validation. Can be repeated.")
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(help="Maximum number of images per split, sampled from the whole split.")
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="Control to run, such as no_image; see `sightweave list controls`. Can be repeated."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Output folder for results and answers, or NAME.csv for a table of the answers.",
            callback=refuse(outputs.check_evaluation),
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ignore saved answers and ask every question again.")
    ] = False,
    trust_run: TrustRun = False,
) -> Result:
    """Evaluate a model on held-out data, with confidence intervals, chance levels and controls.

    To resume after an interruption, run the same command again.
    """
    from sightweave import api

    found = api.evaluate(
        who,
        *(settings or []),
        data=data_of(data),
        splits=split or (),
        max_images=max_images,
        controls=control,
        out=out,
        fresh=fresh,
        trust_run=trust_run,
        processes=_processes(),
        console=_console(),
    )
    if not found:  # process 0 of torchrun prints the result
        return Result(lambda: iter(()), lambda: None)

    def plain() -> "json_results.Evaluated":
        return {"splits": [one.to_json() for one in found]}

    def show() -> None:
        for one in found:
            _show_scores(one, _stdout())

    return Result(plain, show)


@command(app)
def compare(
    recipe: RecipeArgument,
    settings: Annotated[
        list[str],
        typer.Argument(
            help="Settings to compare, with comma-separated values: model.fusion=concat,addition seed=0,1"
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Output folder for the runs and the table.", callback=refuse(outputs.check_comparison)
        ),
    ],
    data: Data = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Train each run for about this many minutes instead of the recipe's number of steps."
        ),
    ] = None,
    tokens: Annotated[
        float | None,
        typer.Option(
            help="Train each run on about this many tokens instead of the recipe's number of steps."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Baseline for the comparison, such as concat-cnn; by default the first combination."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of runs to train in parallel.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads per run.")] = None,
) -> Result:
    r"""Train and evaluate every combination of settings, and compare them in one table.

    To resume after an interruption, run the same command again.

    To choose between recipes, set evaluate.splits=\[validation], and only test the recipe that you choose.
    """
    from sightweave import api
    from sightweave.comparison.results import as_markdown

    found = api.compare(
        recipe,
        *settings,
        out=out,
        data=data_of(data),
        minutes=minutes,
        tokens=tokens,
        against=against,
        jobs=jobs,
        threads=threads,
        console=_console(),
    )
    page = f"{out}/comparison.html"

    def plain() -> "json_results.Compared":
        return {"page": page, "comparison": found.to_json()}

    return Result(plain, lambda: echo(f"{as_markdown(found)}\npage: {page}"))


def _check_asked(ctx: typer.Context, prompt: list[str] | None) -> list[str] | None:
    """Refuses a command that has neither a question nor data, after the paths that were given have been checked."""
    if not prompt and not ctx.params.get("data"):
        raise typer.BadParameter("give an image and a question, or --data FOLDER.")
    return prompt


@command(app)  # one parameter per option: typer reads the options from the signature
def generate(  # one parameter for each option of the command
    run: RunArgument,
    image: Annotated[
        Path | None, typer.Argument(help="Image file.", callback=refuse(places.check_picture))
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Argument(help="One or more questions about the image.", callback=_check_asked),
    ] = None,
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Output file for the answers to the prompts in --data: JSON lines, or a table if the name ends in .csv.",
            callback=refuse(answer_files.check),
        ),
    ] = None,
    submission: Annotated[
        str | None,
        typer.Option(
            help="Write the answers to --data as a benchmark submission: coco, vqa_v2, vizwiz, gqa, textvqa or nlvr2."
        ),
    ] = None,
    writer: Annotated[
        str,
        typer.Option(
            help="Writer: text; rendered, which also draws the regions that an answer names into the image; or "
            "image_tokens, which makes the images that the model writes. Images are PNG files in a folder next to --out."
        ),
    ] = "text",
    decoding: Decoding = "greedy",
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    num_beams: NumBeams = None,
    max_tokens: AnswerTokens = None,
    stop: Stop = None,
    seed: Seed = 0,
    trust_run: TrustRun = False,
) -> Result:
    """Answer questions about an image, or every prompt in a dataset."""
    from sightweave import api

    # Every prompt of a dataset.
    method = _decoding(decoding, temperature, top_k, top_p, num_beams)
    options: dict[str, Any] = {
        "decoding": method,
        "writer": writer,
        "max_tokens": max_tokens,
        "stop": tuple(stop or ()),
        "seed": seed,
    }
    if data is not None:
        if out is None:  # the answers printed in the terminal show the progress
            options["progress"] = False
        pictures = None if out is None or writer == "text" else out.with_name(f"{out.stem}-pictures")
        rows = api.answer_all(run, data_of(data), pictures=pictures, trust_run=trust_run, **options)
        return _answered(rows, out, submission, () if pictures is None else ("picture", "faults"))

    # Questions about one image; a single answer is streamed.
    loaded = api.load(run, trust_run=trust_run)
    asked = prompt or []

    def plain() -> "Iterator[json_results.Answer]":
        for text, answer in zip(asked, loaded.generate(image, asked, **options), strict=True):
            yield _answer(image, text, answer)

    def show() -> None:
        if len(asked) > 1:
            for answer in loaded.generate(image, asked, **options):
                echo(answer.text)
            return
        for piece in loaded.stream(image, asked[0], **options):
            echo(piece, nl=False)
        echo()

    return Result(plain, show)


def _answer(image: Path | None, prompt: str, answer: Any) -> "json_results.Answer":
    """One answer as JSON, in the same form as a row of a dataset's answers."""
    shown = None if image is None else str(image)
    return {"image": shown, "prompt": prompt, "answer": answer.text, "logprob": answer.logprob}


def _answered(
    rows: Iterator[Any], out: Path | None, submission: str | None, more: tuple[str, ...] = ()
) -> Result:
    """The answers to a dataset: printed, written to a file, or written as a submission file.

    Args:
        rows: The answers.
        out: The file.
        submission: Name of the benchmark.
        more: Further columns, if the file is a table.
    """

    def written() -> Iterator[Any]:
        if submission is not None:
            from sightweave import api

            found = list(rows)
            text = api.submission(submission, found)
            if out is None:
                echo(text)
            else:
                files.write_text(out, text)
            yield from found
        else:
            yield from rows if out is None else answer_files.write(out, rows, more)

    def show() -> None:
        count = 0
        for row in written():
            count += 1
            if out is None and submission is None:
                echo(json_line(row))
        echo(f"{count} answers in {out}" if out else f"{count} answers", err=True)

    return Result(written, show)


@command(app)
def explain(  # one parameter for each option of the command
    run: RunArgument,
    image: Annotated[
        Path | None,
        typer.Argument(help="Image file: JPEG, PNG, WebP or GIF.", callback=refuse(places.check_picture)),
    ] = None,
    prompt: Annotated[str | None, typer.Argument(help="Question about the image.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Method: a kind from `sightweave list explainers` (default: occlusion), or a mapping such as "
            '"{kind: occlusion, window: [2]}". Can be repeated with --test, which tries all by default.'
        ),
    ] = None,
    answer: Annotated[
        str | None, typer.Option(help="Answer to explain. Without it, the run answers first.")
    ] = None,
    word: Annotated[
        str | None,
        typer.Option(help="Word of the answer to explain. Without it, the whole answer is explained."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Text to compare the word or answer with: what decided against this text."),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="Data with regions on which to test the methods, instead of explaining an answer, such as scenes.",
            callback=refuse(places.check_data),
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Number of questions of --test.")] = 100,
    trust_run: TrustRun = False,
) -> Result:
    """Explain an answer: which places of the image and which tokens of the question contributed to it."""
    if test is not None:
        return _tested(run, data_of([test]), method or [], samples, trust_run)
    if image is None or prompt is None:
        raise typer.BadParameter("give an image and a question, or --test DATA.")
    if len(method or []) > 1:
        raise typer.BadParameter("give one --method; several are for --test.")

    from sightweave import api

    found = api.explain(
        run,
        image,
        prompt,
        method=places.value_of(method[0]) if method else "occlusion",
        answer=answer,
        word=word,
        against=against,
        trust_run=trust_run,
    )

    def plain() -> "json_results.Explained":
        return found.to_plain()  # type: ignore[return-value]  # with exactly these fields

    def show() -> None:
        from sightweave.pages import explained

        console = _stdout()
        for line in explained.lines(found):
            console.print(line, soft_wrap=True)

    return Result(plain, show)


def _tested(run: Path, data: Any, methods: list[str], samples: int, trust_run: bool) -> Result:
    """Tests methods of explanation on data."""
    from sightweave import api

    found = api.faithfulness(run, data, methods=methods, samples=samples, trust_run=trust_run)

    def plain() -> "Iterator[json_results.TestedMethod]":
        for name, measures in found.methods.items():
            scores = {each: [one.value, one.low, one.high] for each, one in measures.items()}
            is_control = name not in found.gains
            yield {
                "method": name,
                "is_control": is_control,
                "scores": scores,
                "verdict": "" if is_control else found.verdict(name),
            }
        for name in found.refused:
            yield {"method": name, "is_control": False, "scores": {}, "verdict": found.verdict(name)}

    def show() -> None:
        from rich.table import Table

        first = next(iter(found.methods.values()))
        table = Table(
            "method", *[name.replace("_", " ") for name in first], title=f"{found.trials} questions"
        )
        for name, measures in found.methods.items():
            cells = [f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})" for one in measures.values()]
            table.add_row(name, *cells)
        _stdout().print(table)
        for name in [*found.gains, *found.refused]:
            echo(found.verdict(name))

    return Result(plain, show)


@command(app)
def caption(
    run: RunArgument,
    image: ImageArgument,
    decoding: Decoding = "greedy",
    max_tokens: Tokens = 96,
    seed: Seed = 0,
    trust_run: TrustRun = False,
) -> Result:
    """Describe an image."""
    from sightweave import api

    loaded = api.load(run, trust_run=trust_run)
    answer = api.caption(loaded, image, decoding=decoding, max_tokens=max_tokens, seed=seed)
    asked = loaded.recipe.task("captioning").instruction
    return Result(lambda: _answer(image, asked, answer), lambda: echo(answer.text))


@command(app)
def translate(  # one parameter for each option of the command
    run: RunArgument,
    image: ImageArgument,
    to: Annotated[str, typer.Option(help="Target language code, such as de, fr or zh.")],
    text: Annotated[
        str | None,
        typer.Argument(help="Text to translate. Without it, the words in the image are translated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="PNG file for the image with the translated words.", callback=refuse(outputs.check_picture)
        ),
    ] = None,
    writer: Annotated[
        str,
        typer.Option(
            help="Writer of the translated words: rendered, which sets them in a font, or image_tokens, if the model draws "
            "them."
        ),
    ] = "rendered",
    font: Annotated[
        list[str] | None,
        typer.Option(
            help="Font for the translated words: a file, or a name such as 'DejaVu Serif'. Can be repeated; the first with "
            "all characters is used."
        ),
    ] = None,
    min_size: Annotated[int, typer.Option(min=1, help="Minimum font size in pixels.")] = 8,
    decoding: Decoding = "greedy",
    max_tokens: AnswerTokens = None,
    seed: Seed = 0,
    trust_run: TrustRun = False,
) -> Result:
    """Translate a text with the help of an image, or the words in an image."""
    from sightweave import api

    loaded = api.load(run, trust_run=trust_run)
    answer = api.translate(
        loaded,
        image,
        text,
        to=to,
        out=out,
        writer=writer,
        font=tuple(font or ()),
        min_size=min_size,
        decoding=decoding,
        max_tokens=max_tokens,
        seed=seed,
    )
    if text is None:
        asked = loaded.recipe.task("image_translation").build().prompt(to)
    else:
        asked = loaded.recipe.task("translation").build().prompt(text, to)

    def plain() -> "json_results.Answer":
        found = _answer(image, asked, answer)
        if out is not None:
            found |= {"picture": str(out), "faults": list(answer.rendered().faults)}
        return found

    return Result(plain, lambda: echo(answer.text))


@command(app)  # one parameter per option, as for generate
def draw(  # one parameter for each option of the command
    run: RunArgument,
    description: Annotated[str, typer.Argument(help="What to draw, such as 'a red ball'.")],
    out: Annotated[
        Path,
        typer.Option(help="PNG file for the drawing.", callback=refuse(outputs.check_picture)),
    ] = Path("drawing.png"),
    guidance: Annotated[
        float, typer.Option(min=0, help="How closely to follow the description; 1 adds no guidance.")
    ] = 1.0,
    decoding: Annotated[
        str, typer.Option(help="Decoding method for the image: sampling or greedy.")
    ] = "sampling",
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = 0,
    trust_run: TrustRun = False,
) -> Result:
    """Draw what a text describes, with a run that writes image tokens."""
    from sightweave import api

    loaded = api.load(run, trust_run=trust_run)
    answer = api.draw(
        loaded,
        description,
        out=out,
        guidance=guidance,
        picture_decoding=_decoding(decoding, temperature, top_k, top_p, None),
        seed=seed,
    )
    asked = loaded.recipe.task("drawing").build().prompt(description)

    def plain() -> "json_results.Answer":
        return _answer(None, asked, answer) | {"picture": str(out)}

    return Result(plain, lambda: echo(out))


@command(app)
def report(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of a run or an evaluation.", callback=refuse(places.check_results)),
    ],
) -> Result:
    """Regenerate report.html."""
    from sightweave import api

    path = str(api.report(run))

    def plain() -> "json_results.Page":
        return {"report": path}

    return Result(plain, lambda: echo(path))


WhoArgument = typer.Argument(
    help="Folder of a run or an evaluation; with --data, anything that `evaluate` accepts."
)


@command(app)
def beside(
    first: Annotated[str, WhoArgument],
    second: Annotated[str, WhoArgument],
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="Output file (HTML).", callback=refuse(outputs.check_page))
    ] = None,
    trust_run: TrustRun = False,
) -> Result:
    """Compare two evaluations: significance tests of the difference, and the answers that differ.

    With --data, both are evaluated on that data first.
    """
    for one in (first, second):
        if data:
            places.check_who(one)
        else:
            places.check_evaluated(Path(one))

    from sightweave.verbs.evaluating import put_beside

    path, found = put_beside(
        first, second, data=data_of(data), out=out, trust_run=trust_run, console=_console()
    )

    def plain() -> "json_results.SideBySide":
        return {"page": str(path), "beside": found.to_json()}

    return Result(plain, lambda: echo(f"{found.text}\npage: {path}"))


@command(app)
def check(
    what: Annotated[
        Path,
        typer.Argument(help="Recipe or run folder.", callback=refuse(places.check_run_or_recipe)),
    ],
    settings: Settings = None,
    data: Data = None,
    trust_run: TrustRun = False,
) -> Result:
    """Check the model's wiring: gradients, token counts, masks, caches and pixels. Exits with status 1 if a check fails."""
    from sightweave import api
    from sightweave.programs.checks import _program as checks

    found = api.check(what, *(settings or []), data=data_of(data), trust_run=trust_run)
    has_failed = any(one.finding.state == "fail" for one in found)
    return Result(
        lambda: (one.to_plain() for one in found),
        lambda: _stdout().print(checks.table(found)),
        status=int(has_failed),
    )


@command(app, name="find-lr")
def find_lr(
    recipe: RecipeArgument,
    settings: Settings = None,
    data: Data = None,
    stage: Annotated[int, typer.Option(help="Index of the stage to test.", min=0)] = 0,
    steps: Annotated[int, typer.Option(help="Number of updates.", min=2)] = 100,
    lowest: Annotated[float, typer.Option(help="First learning rate.")] = 1e-6,
    highest: Annotated[float, typer.Option(help="Last learning rate.")] = 1.0,
) -> Result:
    """Suggest a peak learning rate from a short test with increasing rates. Writes no files."""
    from sightweave import api

    found = api.find_lr(
        recipe,
        *(settings or []),
        data=data_of(data),
        stage=stage,
        steps=steps,
        lowest=lowest,
        highest=highest,
        console=_console(),
    )
    return Result(found.to_plain, lambda: echo(found.to_text(stage)))


@command(app)
def forecast(
    recipe: RecipeArgument,
    settings: Settings = None,
    data: Data = None,
    device: Annotated[
        str | None,
        typer.Option(help="Accelerator to forecast for, such as h100 or a100; by default this machine."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of accelerators, which share each batch.")] = 1,
    price: Annotated[
        float | None, typer.Option(min=0, help="Price of one accelerator per hour, for the cost.")
    ] = None,
) -> Result:
    """Forecast memory, time, energy and cost of a training run before it starts. Trains no model and writes no files."""
    from sightweave import api

    found = api.forecast(
        recipe, *(settings or []), data=data_of(data), device=device, count=count, price=price
    )

    def plain() -> "json_results.Forecasted":
        return {"forecast": found.to_json()}

    return Result(plain, lambda: echo(found.to_text()))


@command(app)  # one parameter per option, as for generate
def export(  # one parameter for each option of the command
    run: RunArgument,
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Format-specific settings, such as layout=llava or numbers=q8_0."),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            help=f"Export format: {', '.join(catalog.kinds('programs.exports'))}, or the dotted path of your own module."
        ),
    ] = "transformers",
    out: Annotated[
        Path | None,
        typer.Option(
            help="New output folder; by default export-TO inside the run folder.",
            callback=refuse(outputs.check_export),
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            help="File layout. For transformers: idefics3, llava or auto; for onnx: sightweave or transformers.js."
        ),
    ] = "auto",
    data: Data = None,
    samples: Annotated[int, typer.Option(help="Number of prompts used to compare the answers.")] = 8,
    license: Annotated[str, typer.Option(help="SPDX license identifier for the model card.")] = "",
    llama_cpp: Annotated[
        str, typer.Option(help="For gguf: path of a llama.cpp clone; by default $LLAMA_CPP.")
    ] = "",
    numbers: Annotated[
        str, typer.Option(help="For gguf: data type of the weights, f16, f32, bf16 or q8_0.")
    ] = "",
    trust_run: TrustRun = False,
) -> Result:
    """Export a run for another program, load it there, and compare the answers on --data or on the run's own data."""
    from sightweave import api
    from sightweave.core import config

    given = {"layout": "" if layout == "auto" else layout, "llama_cpp": llama_cpp, "numbers": numbers}
    options = config.override({name: value for name, value in given.items() if value}, settings or [])

    loaded = api.load(run, trust_run=trust_run)
    exported = api.export(
        loaded, to=to, out=out, data=data_of(data), samples=samples, license=license, **options
    )
    return Result(exported.to_plain, lambda: echo(exported.to_text()))


@command(app, "list")
def list_kinds(
    family: Annotated[
        str | None, typer.Argument(help="Family: encoders, connectors, fusions, language_models, ...")
    ] = None,
) -> Result:
    """List the kinds in a family, or which fusions work with which language models."""
    from sightweave import api

    if family is not None:
        kinds = api.kinds(family)
        rows = ({"kind": kind, "about": about} for kind, about in kinds.items())
        return Result(lambda: rows, lambda: _show_table(kinds, "kind", "what it is", title=family))

    pairs = api.pairs()
    matrix = (
        {"fusion": fusion, "language_model": model, "can": can} for (fusion, model), can in pairs.items()
    )
    return Result(lambda: matrix, lambda: _show_pairs(pairs, list(api.FAMILIES)))


@command(app)
def runs(
    folder: Annotated[
        Path, typer.Argument(help="Folder with runs.", callback=refuse(run_list.check_folder))
    ] = Path("runs"),
    sort: Annotated[
        str,
        typer.Option(
            help="Order: date (newest first), score (best first), time (longest training first) or size."
        ),
    ] = "date",
    task: Annotated[
        str | None, typer.Option(help="Task whose score is shown; by default the first task of each run.")
    ] = None,
) -> Result:
    """List runs with their state, progress, score, training time and size on disk."""
    found = run_list.runs(folder, sort=sort, task=task)

    def plain() -> Iterator[Any]:
        yield from (one.to_json() for one in found)

    return Result(plain, lambda: _show_runs(found, folder, task))


_WIDE = 120
"""Columns of a terminal from which the list of runs has titles."""


def _show_runs(found: "list[RunSummary]", folder: Path, task: str | None) -> None:
    """Prints a table of runs, and below it what is wrong with some of them."""
    from rich import box
    from rich.table import Column, Table

    if not found:
        echo(f"{folder}: no runs found", err=True)
        return

    console = _stdout()
    has_titles = console.width >= _WIDE
    fixed = [Column("state", no_wrap=True)]
    fixed += [Column(name, justify="right", no_wrap=True) for name in ("steps", "training", "size")]
    titles = ["title"] if has_titles else []
    table = Table(
        Column("run", overflow="fold"),
        *fixed,
        "score",
        Column("date", no_wrap=True),
        *titles,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )

    for one in found:
        score = one.score(task)
        cells = [
            str(one.folder if one.folder == folder else one.folder.relative_to(folder)),
            one.state,
            _steps_of(one),
            "" if one.training_seconds is None else str(timedelta(seconds=round(one.training_seconds))),
            f"{one.disk_bytes / 1e6:.1f} MB",
            "" if score is None else f"{score.split}: {score.to_text()}",
            f"{one.date.astimezone():%Y-%m-%d %H:%M}",
        ]
        cells += [one.title] * has_titles
        table.add_row(*map(terminal.markup, cells))
    console.print(table)

    for one in found:
        if one.problem:
            echo(f"{one.folder}: {one.state}: {one.problem}")


def _steps_of(found: "RunSummary") -> str:
    if found.steps is None:
        return ""
    return f"{found.steps}" + (f"/{found.planned_steps}" if found.planned_steps else "")


def _show_table(rows: dict[str, str], *columns: str, title: str | None = None) -> None:
    from rich.table import Table

    table = Table(*columns, title=title)
    for row in rows.items():
        table.add_row(*row)
    _stdout().print(table)


def _show_pairs(pairs: dict[tuple[str, str], str], families: list[str]) -> None:
    from rich.table import Table

    console = _stdout()
    models = list(dict.fromkeys(model for _, model in pairs))
    # Without padding, all language models fit in 80 columns.
    table = Table("fusion", *models, title="what each pair can do", padding=0)
    for fusion in dict.fromkeys(fusion for fusion, _ in pairs):
        table.add_row(fusion, *(pairs[fusion, model] or "-" for model in models))
    console.print(table)
    console.print("Families: " + ", ".join(families) + ". `sightweave list FAMILY` shows its kinds.")


@command(app)
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Print this recipe. To edit a copy: sightweave recipes own > mine.yaml",
            callback=refuse(recipe_files.find),
        ),
    ] = None,
) -> Result:
    """List the recipes that ship with Sightweave. `sightweave train NAME` trains one."""
    if name is not None:
        from sightweave.core import config

        path = recipe_files.find(name)
        return Result(
            lambda: config.read_yaml(path), lambda: echo(path.read_text(encoding="utf-8"), nl=False)
        )

    known = recipe_files.shipped()
    about = {one: recipe_files.summary(path) for one, path in known.items()}
    rows = ({"recipe": one, "about": about[one], "file": str(path)} for one, path in known.items())
    return Result(lambda: rows, lambda: _show_table(about, "recipe", "what it is for"))


@command(data_app)
def sample(
    data: DataArgument,
    out: Annotated[
        Path, typer.Option(help="Output file (PNG).", callback=refuse(outputs.check_sheet))
    ] = Path("sheet.png"),
    split: Annotated[str, typer.Option(help="Split to show.")] = "train",
    count: Annotated[int, typer.Option(help="Number of images.")] = 24,
    columns: Annotated[int, typer.Option(help="Images per row.")] = 6,
    seed: Annotated[int, typer.Option(help="Random seed for generated scenes.")] = 0,
) -> Result:
    """Create a contact sheet of images with their texts."""
    from sightweave import api

    path = str(api.sample_data(data_of([data]), out, split=split, count=count, columns=columns, seed=seed))

    def plain() -> "json_results.Sheet":
        return {"sheet": path}

    return Result(plain, lambda: echo(path))


@command(data_app, "check")
def check_data(
    data: DataArgument,
    settings: Annotated[list[str] | None, typer.Argument(help="Settings to override in --recipe.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Test set to check for overlap with the training images.", callback=refuse(places.check_data)
        ),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            help="New folder for a cleaned copy in the same format.", callback=refuse(outputs.check_new)
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Count the rows that exceed this recipe's maximum length, image tokens included.",
            callback=refuse(recipe_files.find),
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Output folder for the report, or NAME.csv for a table of the findings.",
            callback=refuse(outputs.check_checked),
        ),
    ] = Path("data-check"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes that decode images.")
    ] = None,
) -> Result:
    """Check a dataset before training. Exits with status 1 if the dataset is not fit for training."""
    from sightweave import api

    report = api.check_data(
        data_of([data]),
        *(settings or []),
        against=None if against is None else data_of([against]),
        fix=fix,
        recipe=recipe,
        out=out,
        workers=workers,
        console=_console(),
    )

    def plain() -> "json_results.DataChecked":
        return {"report": report.page, "check": report.to_json()}

    return Result(
        plain, lambda: echo(f"{report.to_text()}\nreport: {report.page}"), status=int(not report.is_sound)
    )


@command(data_app)
def cache(
    recipe: RecipeArgument,
    settings: Settings = None,
    data: Data = None,
    out: Annotated[
        Path, typer.Option(help="Output folder for the cache.", callback=refuse(outputs.check_cache))
    ] = Path("data-cache"),
) -> Result:
    """Decode and resize all images once. Train with inputs.cache=FOLDER to use the result."""
    from sightweave import api

    written = api.cache_data(
        recipe,
        *(settings or []),
        out=out,
        data=data_of(data),
        processes=_processes(),
        console=_console(),
    )
    if _processes() > 1 and os.environ["RANK"] != "0":  # process 0 of torchrun prints the result
        return Result(lambda: iter(()), lambda: None)

    def plain() -> "json_results.Cached":
        return {"folder": str(out), "pictures": written.pictures, "left_out": written.left_out}

    left = f" ({len(written.left_out)} skipped)" if written.left_out else ""
    text = f"cached {written.pictures} images in {out}{left}; train with inputs.cache={out}"
    return Result(plain, lambda: echo(text))


@command(data_app)
def detect(
    data: Annotated[
        Path,
        typer.Argument(help="Downloaded file or folder.", callback=refuse(places.check_place)),
    ],
) -> Result:
    """Detect the format of a dataset from its files and their keys. To use the dataset, set `data=PATH` in a recipe."""
    from sightweave import api

    found = api.detect_data(data)
    if not found:
        kinds = ", ".join(api.kinds("datasets"))
        echo(
            f"{data}: no known format. Known formats: {kinds}. `sightweave list datasets` describes them.",
            err=True,
        )

    rows = ({"kind": kind, "reason": reason} for kind, reason in found.items())
    text = "\n".join(f"{kind}: {reason}" for kind, reason in found.items())
    return Result(lambda: rows, lambda: echo(text, nl=bool(text)), status=int(not found))


@command(app)
def demo(
    quick: Annotated[bool, typer.Option(help="Train for a few minutes only.")] = False,
    signs: Annotated[
        bool, typer.Option("--signs", help="Translate the words in images, and draw the translations.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Run folder.", callback=refuse(outputs.check_run))] = None,
) -> Result:
    """Train a small model from scratch and see it answer questions about images it has never seen."""
    from sightweave import demo as story
    from sightweave import demo_signs

    tell = demo_signs.tell if signs else story.tell
    run = tell(quick=quick, out=out, console=_stdout())
    return Result(lambda: _trained(run), lambda: None, _status(run))


def main() -> None:
    """The entry point: user errors end with a one-line message, not a traceback."""
    if "torch" not in sys.modules:  # torch has not read the environment yet
        cores.sleep_at_barriers(os.environ)

    handler = logging.StreamHandler()
    handler.setFormatter(terminal.LogFormatter())
    logging.getLogger("sightweave").addHandler(handler)

    try:
        with _clean_ends():
            app()
    except SightweaveError as error:
        if not error.is_reported:
            echo(f"error: {error}", err=True)
        raise SystemExit(1) from None
    except OSError as error:
        echo(f"error: {error}", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(_SIGNALLED + signal.SIGINT) from None
    finally:
        logging.getLogger("sightweave").removeHandler(handler)


@contextlib.contextmanager
def _clean_ends() -> Iterator[None]:
    """Turns termination signals into an exception: temporary files are removed and the exit status names the signal."""

    def end(number: int, _frame: Any) -> None:
        raise SystemExit(_SIGNALLED + number)

    before: dict[int, Any] = {}
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1"):  # Windows has only the first
        number = getattr(signal, name, None)
        # Keep ignored signals ignored: nohup ignores SIGHUP.
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            with contextlib.suppress(ValueError):  # not in the main thread
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
