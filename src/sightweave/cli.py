"""The command line: one small function for each command, which calls the api and says how its result is shown.

Nothing heavy is imported here: ``sightweave --help`` loads no torch, and neither does a wrong path.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightweave.command_line import (
    Command,
    Result,
    check_setting,
    data_of,
    json_line,
    refuse,
)
from sightweave.core import answer_files, files, outputs, places, recipe_files, terminal
from sightweave.core.errors import SightweaveError

if TYPE_CHECKING:
    from rich.console import Console

    from sightweave import json_results

app = typer.Typer(
    name="sightweave",
    help="Build, train, measure and use vision-language models made from parts that you choose.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Look at data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

_SIGNALLED = 128
"""Exit status after a signal, as shells have it: this plus the signal's number, so 130 after Ctrl-C, 143 after SIGTERM."""
RunArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder of a run, as `sightweave train` leaves it.", callback=refuse(places.check_run)
    ),
]
ImageArgument = Annotated[
    Path,
    typer.Argument(help="A picture: JPEG, PNG, WebP or GIF.", callback=refuse(places.check_picture)),
]
RecipeArgument = Annotated[
    Path,
    typer.Argument(
        help="A recipe: a YAML file, or one of `sightweave recipes`, such as own.",
        callback=refuse(recipe_files.find),
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        help="Settings such as model.fusion=concat seed=1 data=FOLDER.", callback=refuse(check_setting)
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        help='A path of any format, "{kind: scenes, seed: 1}", or - for rows in JSON lines from standard input; may be '
        "given again.",
        callback=refuse(places.check_data),
    ),
]
DataArgument = Annotated[
    str,
    typer.Argument(
        help="A folder or a file of any format, a source as in a recipe, or - for rows in JSON lines from standard "
        "input.",
        callback=refuse(places.check_data),
    ),
]
Decoding = Annotated[str, typer.Option(help="greedy, sampling or beam.")]
Tokens = Annotated[int, typer.Option(help="Tokens of an answer at most.")]
Seed = Annotated[int, typer.Option(help="Of methods that draw.")]
Temperature = Annotated[float | None, typer.Option(help="Of sampling: below 1 sharpens.")]
TopK = Annotated[int | None, typer.Option(help="Of sampling: keep only the k likeliest tokens.")]
TopP = Annotated[
    float | None, typer.Option(help="Of sampling: keep the tokens that together reach this probability.")
]
TrustRun = Annotated[
    bool,
    typer.Option(
        "--trust-run",
        help="Let the run import the Python modules and read the places that its recipe names.",
    ),
]
Beams = Annotated[int | None, typer.Option(help="Of beam search: texts kept for each prompt.")]


def _console() -> Console:
    return terminal.console(stderr=True)


def _stdout() -> Console:
    return terminal.console()


def echo(text: object = "", *, nl: bool = True, err: bool = False) -> None:
    """Prints a text of whatever origin."""
    typer.echo(terminal.visible(text), nl=nl, err=err)


def _decoding(
    decoding: str, temperature: float | None, top_k: int | None, top_p: float | None, beams: int | None
) -> Any:
    """A kind of decoding with the fields that were given; fields alone choose the kind that has them."""
    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "beams": beams}
    fields = {name: value for name, value in given.items() if value is not None}
    if fields and decoding == "greedy":
        decoding = "beam" if "beams" in fields else "sampling"
    return {"kind": decoding, **fields}


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from sightweave import __version__

        echo(f"sightweave {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Build, train, measure and use vision-language models made from parts that you choose."""


@app.command(cls=Command)
def train(
    recipe: RecipeArgument,
    settings: Settings = None,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; without it one under runs/ is named.")
    ] = None,
    evaluate: Annotated[bool, typer.Option(help="Score the held-out splits at the end.")] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in --out; other files are never replaced.")
    ] = False,
) -> Result:
    """Train what a recipe says; leave a run's folder with a checkpoint, curves and a report."""
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
        console=_console(),
    )

    def show() -> None:
        for one in _scores(run.folder) if evaluate and not run.is_interrupted else []:
            _show_scores(one, _console())
        echo(f"run: {run.folder}")
        echo(f"report: {run.folder}/report.html")

    return Result(lambda: _trained(run), show, _status(run))


def _trained(run: Any) -> json_results.Trained:
    return {
        "run": str(run.folder),
        "report": f"{run.folder}/report.html",
        "interrupted": run.is_interrupted,
        "splits": [] if run.is_interrupted else [one.to_json() for one in _scores(run.folder)],
    }


def _status(run: Any) -> int:
    return _SIGNALLED + run.stop_signal if run.stop_signal else 0


def _scores(folder: Path | None) -> list[Any]:
    """The scores in a run's folder; none where nothing was held out."""
    from sightweave.programs.evaluation.stored import EVALUATION, read_evaluations

    is_scored = folder is not None and (folder / EVALUATION).exists()
    return read_evaluations(folder) if folder is not None and is_scored else []


def _show_scores(evaluation: Any, console: Console) -> None:
    from sightweave.programs.evaluation.table import show

    show(evaluation, console)


@app.command(cls=Command)
def evaluate(
    who: Annotated[
        str,
        typer.Argument(
            help="A run, a Transformers folder, an endpoint (http://HOST/v1), a file of answers, or "
            '"{kind: endpoint, url: ..., model: ...}".',
            callback=refuse(places.check_who),
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings of evaluate, tasks and seed, such as evaluate.circular=true; metrics are set in "
            "tasks.TASK.metrics.",
            callback=refuse(check_setting),
        ),
    ] = None,
    data: Data = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split, such as validation; may be given again.")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(help="Maximum images per split, drawn over the whole split.")
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help="Ask again this way; may be given again. `sightweave list controls` names all."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the results and the kept answers; or NAME.csv, for a table of the answers.",
            callback=refuse(outputs.check_evaluation),
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask again what was answered before.")] = False,
    trust_run: TrustRun = False,
) -> Result:
    """Score whoever answers on held-out data, with intervals, chance levels and controls.

    The same command goes on where it was stopped.
    """
    from sightweave import api

    found = api.evaluate(
        who,
        *(settings or []),
        data=data_of(data),
        splits=split or (),
        pictures=pictures,
        controls=control,
        out=out,
        fresh=fresh,
        trust_run=trust_run,
        console=_console(),
    )

    def plain() -> json_results.Evaluated:
        return {"splits": [one.to_json() for one in found]}

    def show() -> None:
        for one in found:
            _show_scores(one, _stdout())

    return Result(plain, show)


@app.command(cls=Command)
def compare(
    recipe: RecipeArgument,
    settings: Annotated[
        list[str],
        typer.Argument(
            help="Settings; one with several values is an axis: model.fusion=concat,addition seed=0,1"
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder of the runs and of the table.", callback=refuse(outputs.check_comparison)),
    ],
    data: Data = None,
    minutes: Annotated[
        float | None, typer.Option(help="Train each run about so long, instead of the recipe's steps.")
    ] = None,
    tokens: Annotated[
        float | None,
        typer.Option(help="Train each run on about so many tokens, instead of the recipe's steps."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="What the others are compared with, such as concat-cnn; else the first."),
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each run.")] = None,
) -> Result:
    """Train and score every combination of settings in one table. The same command resumes where it was stopped.

    To choose a recipe, score evaluate.splits=[validation]; the tests are for the one that was chosen.
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
        at_once=at_once,
        threads=threads,
        console=_console(),
    )
    page = f"{out}/comparison.html"

    def plain() -> json_results.Compared:
        return {"page": page, "comparison": found.to_json()}

    return Result(plain, lambda: echo(f"{as_markdown(found)}\npage: {page}"))


def _check_asked(ctx: typer.Context, prompt: list[str] | None) -> list[str] | None:
    """Refuses a command without a question; what was given is read before what was left out."""
    if not prompt and not ctx.params.get("data"):
        raise typer.BadParameter("give a picture and a question, or --data FOLDER.")
    return prompt


@app.command(cls=Command)
def generate(
    run: RunArgument,
    image: Annotated[
        Path | None, typer.Argument(help="A picture.", callback=refuse(places.check_picture))
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Argument(help="One question or several on the picture.", callback=_check_asked),
    ] = None,
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where those answers go: JSON lines, or a table if the name ends in .csv.",
            callback=refuse(answer_files.check),
        ),
    ] = None,
    submission: Annotated[
        str | None,
        typer.Option(help="As the file of a server instead: coco, vqa_v2, vizwiz, gqa, textvqa or nlvr2."),
    ] = None,
    decoding: Decoding = "greedy",
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    beams: Beams = None,
    max_tokens: Tokens = 96,
    seed: Seed = 0,
    trust_run: TrustRun = False,
) -> Result:
    """Answer questions on a picture, or every prompt of a data set."""
    from sightweave import api

    method = _decoding(decoding, temperature, top_k, top_p, beams)
    options: dict[str, Any] = {"decoding": method, "max_tokens": max_tokens, "seed": seed}
    if data is not None:
        if out is None:  # answers in the terminal show how far it is
            options["progress"] = False
        rows = api.answer_all(run, data_of(data), trust_run=trust_run, **options)
        return _answered(rows, out, submission)

    loaded = api.load(run, trust_run=trust_run)
    asked = prompt or []

    def plain() -> Iterator[json_results.Answer]:
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


def _answer(image: Path | None, prompt: str, answer: Any) -> json_results.Answer:
    """A line for an answer, as a row of a data set's answers is."""
    shown = None if image is None else str(image)
    return {"image": shown, "prompt": prompt, "answer": answer.text, "logprob": answer.logprob}


def _answered(rows: Iterator[Any], out: Path | None, submission: str | None) -> Result:
    """The answers to a data set: shown, or in a file, or as the file of a server."""

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
            yield from rows if out is None else answer_files.write(out, rows)

    def show() -> None:
        count = 0
        for row in written():
            count += 1
            if out is None and submission is None:
                echo(json_line(row))
        echo(f"{count} answers in {out}" if out else f"{count} answers", err=True)

    return Result(written, show)


@app.command(cls=Command)
def caption(
    run: RunArgument,
    image: ImageArgument,
    decoding: Decoding = "greedy",
    max_tokens: Tokens = 96,
    seed: Seed = 0,
    trust_run: TrustRun = False,
) -> Result:
    """Describe a picture."""
    from sightweave import api

    loaded = api.load(run, trust_run=trust_run)
    answer = api.caption(loaded, image, decoding=decoding, max_tokens=max_tokens, seed=seed)
    asked = loaded.recipe.task("captioning").instruction
    return Result(lambda: _answer(image, asked, answer), lambda: echo(answer.text))


@app.command(cls=Command)
def translate(
    run: RunArgument,
    image: ImageArgument,
    text: Annotated[str, typer.Argument(help="The text to translate.")],
    to: Annotated[str, typer.Option(help="Code of the target language, such as de, fr or zh.")],
    decoding: Decoding = "greedy",
    max_tokens: Tokens = 96,
    seed: Seed = 0,
    trust_run: TrustRun = False,
) -> Result:
    """Translate a text with the help of a picture."""
    from sightweave import api

    loaded = api.load(run, trust_run=trust_run)
    answer = api.translate(loaded, image, text, to=to, decoding=decoding, max_tokens=max_tokens, seed=seed)
    asked = loaded.recipe.task("translation").build().prompt(text, to)
    return Result(lambda: _answer(image, asked, answer), lambda: echo(answer.text))


@app.command(cls=Command)
def report(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of a run or of an evaluation.", callback=refuse(places.check_results)),
    ],
) -> Result:
    """Draw report.html again."""
    from sightweave import api

    path = str(api.report(run))

    def plain() -> json_results.Page:
        return {"report": path}

    return Result(plain, lambda: echo(path))


WhoArgument = typer.Argument(
    help="Folder of a run or of an evaluation; with --data, anybody whom `evaluate` can ask."
)


@app.command(cls=Command)
def beside(
    first: Annotated[str, WhoArgument],
    second: Annotated[str, WhoArgument],
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the page goes (HTML).", callback=refuse(outputs.check_page))
    ] = None,
    trust_run: TrustRun = False,
) -> Result:
    """Put two evaluations side by side: tests of their difference, and the answers in which they differ.

    With --data, both are scored on these data first.
    """
    for one in (first, second):
        places.check_who(one) if data else places.check_evaluated(Path(one))
    from sightweave.verbs.evaluating import put_beside

    path, found = put_beside(
        first, second, data=data_of(data), out=out, trust_run=trust_run, console=_console()
    )

    def plain() -> json_results.SideBySide:
        return {"page": str(path), "beside": found.to_json()}

    return Result(plain, lambda: echo(f"{found.text}\npage: {path}"))


@app.command(cls=Command)
def check(
    what: Annotated[
        Path,
        typer.Argument(help="A recipe, or the folder of a run.", callback=refuse(places.check_run_or_recipe)),
    ],
    settings: Settings = None,
    data: Data = None,
    trust_run: TrustRun = False,
) -> Result:
    """Check whether the parts are wired right: gradients, counts, masks, caches, pixels. Exits with 1 where they are not."""
    from sightweave import api
    from sightweave.programs.checks import _program as checks

    found = api.check(what, *(settings or []), data=data_of(data), trust_run=trust_run)
    has_failed = any(one.finding.state == "fail" for one in found)
    return Result(
        lambda: (one.to_plain() for one in found),
        lambda: _stdout().print(checks.table(found)),
        status=int(has_failed),
    )


@app.command(cls=Command)
def export(
    run: RunArgument,
    to: Annotated[
        str, typer.Option(help="Target: transformers, custom_code, gguf or onnx.")
    ] = "transformers",
    out: Annotated[
        Path | None,
        typer.Option(
            help="The new folder; by default export-TO in the run's.", callback=refuse(outputs.check_export)
        ),
    ] = None,
    layout: Annotated[
        str, typer.Option(help="transformers: idefics3, llava, auto; onnx: sightweave, transformers.js.")
    ] = "auto",
    data: Data = None,
    samples: Annotated[int, typer.Option(help="Prompts to compare by.")] = 8,
    licence: Annotated[str, typer.Option(help="SPDX name for the model card.")] = "",
    llama_cpp: Annotated[str, typer.Option(help="Of gguf: a clone of llama.cpp, else $LLAMA_CPP.")] = "",
    numbers: Annotated[str, typer.Option(help="Of gguf: f16, f32, bf16 or q8_0.")] = "",
    trust_run: TrustRun = False,
) -> Result:
    """Write a run for another program, open it there, and compare the answers on --data, or on the run's own."""
    from sightweave import api

    given = {"layout": "" if layout == "auto" else layout, "llama_cpp": llama_cpp, "numbers": numbers}
    options: dict[str, Any] = {name: value for name, value in given.items() if value}
    loaded = api.load(run, trust_run=trust_run)
    made = api.export(loaded, to=to, out=out, data=data_of(data), samples=samples, licence=licence, **options)
    return Result(made.to_plain, lambda: echo(made.to_text()))


@app.command(name="list", cls=Command)
def list_kinds(
    family: Annotated[
        str | None, typer.Argument(help="encoders, connectors, fusions, language_models ...")
    ] = None,
) -> Result:
    """List the kinds of a family, or the matrix of fusions and language models."""
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
    # All kinds of language models stand side by side in 80 columns.
    table = Table("fusion", *models, title="what each pair can do", padding=0)
    for fusion in dict.fromkeys(fusion for fusion, _ in pairs):
        table.add_row(fusion, *(pairs[fusion, model] or "-" for model in models))
    console.print(table)
    console.print("Families: " + ", ".join(families) + ". `sightweave list FAMILY` shows its kinds.")


@app.command(cls=Command)
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Print this recipe, to change a copy of it: recipes own > mine.yaml",
            callback=refuse(recipe_files.find),
        ),
    ] = None,
) -> Result:
    """List the recipes that ship with Sightweave; `sightweave train NAME` trains one."""
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


@data_app.command(cls=Command)
def sample(
    data: DataArgument,
    out: Annotated[
        Path, typer.Option(help="Where the sheet goes (PNG).", callback=refuse(outputs.check_sheet))
    ] = Path("sheet.png"),
    split: Annotated[str, typer.Option(help="Which split.")] = "train",
    count: Annotated[int, typer.Option(help="Pictures.")] = 24,
    columns: Annotated[int, typer.Option(help="Pictures side by side.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the embedded world.")] = 0,
) -> Result:
    """Draw a sheet of pictures with their texts."""
    from sightweave import api

    path = str(api.sample_data(data_of([data]), out, split=split, count=count, columns=columns, seed=seed))

    def plain() -> json_results.Sheet:
        return {"sheet": path}

    return Result(plain, lambda: echo(path))


@data_app.command(name="check", cls=Command)
def check_data(
    data: DataArgument,
    settings: Annotated[list[str] | None, typer.Argument(help="Settings of --recipe.")] = None,
    against: Annotated[
        str | None,
        typer.Option(help="A test set that training must not have seen.", callback=refuse(places.check_data)),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            help="A new folder for a clean copy in the same format.", callback=refuse(outputs.check_new)
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Count rows over this recipe's length, pictures included.",
            callback=refuse(recipe_files.find),
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the report; or NAME.csv, for a table of what was found.",
            callback=refuse(outputs.check_checked),
        ),
    ] = Path("data-check"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that decode pictures.")] = None,
) -> Result:
    """Look a data set over before anything trains. Exit status 1: training should not start."""
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

    def plain() -> json_results.DataChecked:
        return {"report": report.page, "check": report.to_json()}

    return Result(
        plain, lambda: echo(f"{report.to_text()}\nreport: {report.page}"), status=int(not report.is_sound)
    )


@data_app.command(cls=Command)
def cache(
    recipe: RecipeArgument,
    settings: Settings = None,
    data: Data = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the cache.", callback=refuse(outputs.check_cache))
    ] = Path("data-cache"),
) -> Result:
    """Decode and resize all pictures once; train with inputs.cache=FOLDER."""
    from sightweave import api

    written = api.cache_data(recipe, *(settings or []), out=out, data=data_of(data), console=_console())

    def plain() -> json_results.Cached:
        return {"folder": str(out), "pictures": written.pictures, "left_out": written.left_out}

    left = f", {len(written.left_out)} left out" if written.left_out else ""
    text = f"{written.pictures} pictures in {out}{left}; train with inputs.cache={out}"
    return Result(plain, lambda: echo(text))


@data_app.command(cls=Command)
def detect(
    data: Annotated[
        Path,
        typer.Argument(help="A folder or a file, as it was downloaded.", callback=refuse(places.check_place)),
    ],
) -> Result:
    """Name the format of a path, from its files and their keys; `data=PATH` in a recipe reads it."""
    from sightweave import api

    found = api.detect_data(data)
    if not found:
        kinds = ", ".join(api.kinds("datasets"))
        echo(
            f"{data}: no known format. Known: {kinds}. `sightweave list datasets` says what each is.",
            err=True,
        )
    rows = ({"kind": kind, "reason": reason} for kind, reason in found.items())
    text = "\n".join(f"{kind}: {reason}" for kind, reason in found.items())
    return Result(lambda: rows, lambda: echo(text, nl=bool(text)), status=int(not found))


@app.command(cls=Command)
def demo(
    quick: Annotated[bool, typer.Option(help="About three minutes instead of ten.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run.", callback=refuse(outputs.check_run))
    ] = None,
) -> Result:
    """Train a small model from nothing and see it answer, on pictures that it has never met."""
    from sightweave import demo as story

    run = story.tell(quick=quick, out=out, console=_stdout())
    return Result(lambda: _trained(run), lambda: None, _status(run))


def main() -> None:
    """The entry point: users' mistakes end with one line, not with a traceback."""
    handler = logging.StreamHandler()
    handler.setFormatter(terminal.LogFormatter())
    logging.getLogger("sightweave").addHandler(handler)
    try:
        with _clean_ends():
            app()
    except SightweaveError as error:
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
    """Has requests to end unwind the stack, so that temporary files go and the exit status names the signal."""

    def end(number: int, _frame: Any) -> None:
        raise SystemExit(_SIGNALLED + number)

    before: dict[int, Any] = {}
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1"):  # Windows knows the first alone
        number = getattr(signal, name, None)
        # What is ignored stays so: nohup ignores SIGHUP.
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            with contextlib.suppress(ValueError):  # not in the main thread
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
