"""The command line: one small function for each command, which calls the api and prints.

Nothing heavy is imported here: ``sightweave --help`` loads no torch.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightweave.core import json_lines, terminal
from sightweave.core.errors import SightweaveError

if TYPE_CHECKING:
    from rich.console import Console

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
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run, as `sightweave train` leaves it.")]
ImageArgument = Annotated[Path, typer.Argument(help="A picture: JPEG, PNG, WebP or GIF.")]
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


def _echo(text: object = "", *, nl: bool = True, err: bool = False) -> None:
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

        _echo(f"sightweave {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Build, train, measure and use vision-language models made from parts that you choose."""


@app.command()
def train(
    recipe: Annotated[
        Path, typer.Argument(help="A recipe: a YAML file, or one of `sightweave recipes`, such as own.")
    ],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings such as model.fusion=concat seed=1 data=FOLDER.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; without it one under runs/ is named.")
    ] = None,
    evaluate: Annotated[bool, typer.Option(help="Score the held-out splits at the end.")] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in --out; other files are never replaced.")
    ] = False,
) -> None:
    """Train what a recipe says; leave a run's folder with a checkpoint, curves and a report."""
    from sightweave import api

    console = _console()
    run = api.train(
        recipe, *(settings or []), out=out, evaluate=evaluate, overwrite=overwrite, console=console
    )
    if evaluate and not run.is_interrupted:
        _show_scores(run.folder, console)
    _echo(f"run: {run.folder}")
    _echo(f"report: {run.folder}/report.html")
    if run.stop_signal:
        raise typer.Exit(_SIGNALLED + run.stop_signal)


def _show_scores(folder: Path | None, console: Console) -> None:
    """The table of a run's scores, as `evaluate` shows it; nothing where nothing was held out."""
    from sightweave.programs.evaluation.stored import EVALUATION, read_evaluations
    from sightweave.programs.evaluation.table import show

    if folder is None or not (folder / EVALUATION).exists():
        return
    for evaluation in read_evaluations(folder):
        show(evaluation, console)


@app.command()
def evaluate(
    who: Annotated[
        str,
        typer.Argument(
            help="A run, a Transformers folder, an endpoint (http://HOST/v1), a file of answers, or "
            '"{kind: endpoint, url: ..., model: ...}".'
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings of evaluate, tasks and seed, such as evaluate.circular=true; metrics are set in "
            "tasks.TASK.metrics."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help='Other data: a path of any format, or "{kind: scenes, seed: 1}".')
    ] = None,
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
    out: Annotated[Path | None, typer.Option(help="Folder of the results and the kept answers.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask again what was answered before.")] = False,
    trust_run: TrustRun = False,
) -> None:
    """Score whoever answers on held-out data, with intervals, chance levels and controls.

    The same command goes on where it was stopped.
    """
    from sightweave import api
    from sightweave.programs.evaluation.table import show

    found = api.evaluate(
        who,
        *(settings or []),
        data=data,
        splits=split or (),
        pictures=pictures,
        controls=control,
        out=out,
        fresh=fresh,
        trust_run=trust_run,
        console=_console(),
    )
    for evaluation in found:
        show(evaluation, _stdout())


@app.command()
def compare(
    recipe: Annotated[Path, typer.Argument(help="A recipe.")],
    settings: Annotated[
        list[str],
        typer.Argument(
            help="Settings; one with several values is an axis: model.fusion=concat,addition seed=0,1"
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the runs and of the table.")],
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
) -> None:
    """Train and score every combination of settings in one table. The same command resumes where it was stopped.

    To choose a recipe, score evaluate.splits=[validation]; the tests are for the one that was chosen.
    """
    from sightweave import api
    from sightweave.programs.evaluation.grid_results import as_markdown

    found = api.compare(
        recipe,
        *settings,
        out=out,
        minutes=minutes,
        tokens=tokens,
        against=against,
        at_once=at_once,
        threads=threads,
        console=_console(),
    )
    _echo(as_markdown(found))
    _echo(f"page: {out}/comparison.html")


@app.command()
def generate(
    run: RunArgument,
    image: Annotated[Path | None, typer.Argument(help="A picture.")] = None,
    prompt: Annotated[
        list[str] | None, typer.Argument(help="One question or several on the picture.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Answer every prompt of this data set of any format instead.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where those answers go, one JSON row each.")] = None,
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
) -> None:
    """Answer questions on a picture, or every prompt of a data set."""
    from sightweave import api

    method = _decoding(decoding, temperature, top_k, top_p, beams)
    if data is not None:
        options = {"decoding": method, "max_tokens": max_tokens, "seed": seed, "trust_run": trust_run}
        if out is None:  # answers in the terminal show how far it is
            options["progress"] = False
        count = _answer_data(run, data, out, submission, options)
        _echo(f"{count} answers in {out}" if out else f"{count} answers", err=True)
        return
    if image is None or not prompt:
        raise typer.BadParameter("give a picture and a question, or --data FOLDER.")
    loaded = api.load(run, trust_run=trust_run)
    if len(prompt) == 1:
        for piece in loaded.stream(image, prompt[0], decoding=method, max_tokens=max_tokens, seed=seed):
            _echo(piece, nl=False)
        _echo()
        return
    for answer in loaded.generate(image, prompt, decoding=method, max_tokens=max_tokens, seed=seed):
        _echo(answer.text)


def _answer_data(
    run: Path, data: str, out: Path | None, submission: str | None, options: dict[str, Any]
) -> int:
    from sightweave import api
    from sightweave.core import files

    if out is not None:
        files.refuse_other(out, is_ours=_holds_answers)
    rows = api.answer_all(run, data, **options)
    if submission is not None:
        found = list(rows)
        text = api.submission(submission, found)
        if out is None:
            _echo(text)
        else:
            files.write_text(out, text)
        return len(found)
    count = 0
    with out.open("w", encoding="utf-8") if out is not None else contextlib.nullcontext() as stream:
        for row in rows:
            line = json_lines.dumps(row)
            if stream is None:
                _echo(line)
            else:
                stream.write(line + "\n")
            count += 1
    return count


def _holds_answers(path: Path) -> bool:
    """Whether a file begins with an answer of ours; the file of a server is never taken for one."""
    with path.open("rb") as stream:
        line = stream.readline(1 << 20)
    return line.startswith(b"{") and all(
        f'"{key}": '.encode() in line for key in ("prompt", "answer", "logprob")
    )


@app.command()
def caption(
    run: RunArgument,
    image: ImageArgument,
    decoding: Decoding = "greedy",
    max_tokens: Tokens = 96,
    seed: Seed = 0,
    trust_run: TrustRun = False,
) -> None:
    """Describe a picture."""
    from sightweave import api

    loaded = api.load(run, trust_run=trust_run)
    _echo(api.caption(loaded, image, decoding=decoding, max_tokens=max_tokens, seed=seed).text)


@app.command()
def translate(
    run: RunArgument,
    image: ImageArgument,
    text: Annotated[str, typer.Argument(help="The text to translate.")],
    to: Annotated[str, typer.Option(help="Code of the target language, such as de, fr or zh.")],
    decoding: Decoding = "greedy",
    max_tokens: Tokens = 96,
    seed: Seed = 0,
    trust_run: TrustRun = False,
) -> None:
    """Translate a text with the help of a picture."""
    from sightweave import api

    loaded = api.load(run, trust_run=trust_run)
    answer = api.translate(loaded, image, text, to=to, decoding=decoding, max_tokens=max_tokens, seed=seed)
    _echo(answer.text)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Folder of a run or of an evaluation.")]) -> None:
    """Draw report.html again."""
    from sightweave import api

    _echo(str(api.report(run)))


@app.command()
def beside(
    first: Annotated[Path, typer.Argument(help="Folder of a run or of an evaluation.")],
    second: Annotated[Path, typer.Argument(help="Another one on the same data.")],
    out: Annotated[Path | None, typer.Option(help="Where the page goes (HTML).")] = None,
    trust_run: TrustRun = False,
) -> None:
    """Put two evaluations side by side: tests of their difference, and the answers in which they differ."""
    from sightweave import api

    path, text = api.beside(first, second, out=out, trust_run=trust_run)
    _echo(text)
    _echo(f"page: {path}")


@app.command()
def check(
    what: Annotated[Path, typer.Argument(help="A recipe, or the folder of a run.")],
    settings: Annotated[list[str] | None, typer.Argument(help="path=value settings of a recipe.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a check.")] = False,
    trust_run: TrustRun = False,
) -> None:
    """Check whether the parts are wired right: gradients, counts, masks, caches, pixels. Exits with 1 where they are not."""
    from sightweave import api
    from sightweave.programs.checks import _program as checks

    found = api.check(what, *(settings or []), trust_run=trust_run)
    if as_json:
        for one in found:
            _echo(json_lines.dumps(one.to_plain()))
    else:
        _stdout().print(checks.table(found))
    if any(one.finding.state == "fail" for one in found):
        raise typer.Exit(1)


@app.command()
def export(
    run: RunArgument,
    to: Annotated[
        str, typer.Option(help="Target: transformers, custom_code, gguf or onnx.")
    ] = "transformers",
    out: Annotated[
        Path | None, typer.Option(help="The new folder; by default export-TO in the run's.")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="transformers: idefics3, llava, auto; onnx: sightweave, transformers.js.")
    ] = "auto",
    data: Annotated[
        str | None, typer.Option(help="What to compare by; by default the run's own data.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Prompts to compare by.")] = 8,
    licence: Annotated[str, typer.Option(help="SPDX name for the model card.")] = "",
    llama_cpp: Annotated[str, typer.Option(help="Of gguf: a clone of llama.cpp, else $LLAMA_CPP.")] = "",
    numbers: Annotated[str, typer.Option(help="Of gguf: f16, f32, bf16 or q8_0.")] = "",
    trust_run: TrustRun = False,
) -> None:
    """Write a run for another program, open it there, and compare the answers."""
    from sightweave import api

    given = {"layout": "" if layout == "auto" else layout, "llama_cpp": llama_cpp, "numbers": numbers}
    options: dict[str, Any] = {name: value for name, value in given.items() if value}
    loaded = api.load(run, trust_run=trust_run)
    made = api.export(loaded, to=to, out=out, data=data, samples=samples, licence=licence, **options)
    _echo(made.to_text())


@app.command(name="list")
def list_kinds(
    family: Annotated[
        str | None, typer.Argument(help="encoders, connectors, fusions, language_models ...")
    ] = None,
) -> None:
    """List the kinds of a family, or the matrix of fusions and language models."""
    from rich.table import Table

    from sightweave import api

    console = _stdout()
    if family is not None:
        table = Table("kind", "what it is", title=family)
        for kind, summary in api.kinds(family).items():
            table.add_row(kind, summary)
        console.print(table)
        return
    pairs = api.pairs()
    models = list(dict.fromkeys(model for _, model in pairs))
    # All kinds of language models stand side by side in 80 columns.
    table = Table("fusion", *models, title="what each pair can do", padding=0)
    for fusion in dict.fromkeys(fusion for fusion, _ in pairs):
        table.add_row(fusion, *(pairs[fusion, model] or "-" for model in models))
    console.print(table)
    console.print("Families: " + ", ".join(api.FAMILIES) + ". `sightweave list FAMILY` shows its kinds.")


@app.command()
def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Print this recipe, to change a copy of it: recipes own > mine.yaml")
    ] = None,
) -> None:
    """List the recipes that ship with Sightweave; `sightweave train NAME` trains one."""
    from rich.table import Table

    from sightweave import api
    from sightweave.recipe import find

    if name is not None:
        _echo(find(name).read_text(encoding="utf-8"), nl=False)
        return
    table = Table("recipe", "what it is for")
    for one, about in api.recipes().items():
        table.add_row(one, about)
    _stdout().print(table)


@data_app.command()
def sample(
    data: Annotated[str, typer.Argument(help="scenes, or a folder of your own.")],
    out: Annotated[Path, typer.Option(help="Where the sheet goes (PNG).")] = Path("sheet.png"),
    split: Annotated[str, typer.Option(help="Which split.")] = "train",
    count: Annotated[int, typer.Option(help="Pictures.")] = 24,
    columns: Annotated[int, typer.Option(help="Pictures side by side.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the embedded world.")] = 0,
) -> None:
    """Draw a sheet of pictures with their texts."""
    from sightweave import api

    _echo(str(api.sample_data(data, out, split=split, count=count, columns=columns, seed=seed)))


@data_app.command(name="check")
def check_data(
    data: Annotated[
        str, typer.Argument(help="A folder or a file of any format, or a source as in a recipe.")
    ],
    settings: Annotated[list[str] | None, typer.Argument(help="Settings of --recipe.")] = None,
    against: Annotated[str | None, typer.Option(help="A test set that training must not have seen.")] = None,
    fix: Annotated[
        Path | None, typer.Option(help="A new folder for a clean copy in the same format.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Count rows over this recipe's length, pictures included.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("data-check"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that decode pictures.")] = None,
) -> None:
    """Look a data set over before anything trains. Exit status 1: training should not start."""
    from sightweave import api

    report = api.check_data(
        data,
        *(settings or []),
        against=against,
        fix=fix,
        recipe=recipe,
        out=out,
        workers=workers,
        console=_console(),
    )
    _echo(report.to_text())
    _echo(f"report: {out}/report.html")
    if not report.is_sound:
        raise typer.Exit(1)


@data_app.command()
def cache(
    recipe: Annotated[Path, typer.Argument(help="A recipe; its data and its size of pictures count.")],
    settings: Annotated[list[str] | None, typer.Argument(help="Settings such as data=FOLDER.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the cache.")] = Path("data-cache"),
) -> None:
    """Decode and resize all pictures once; train with inputs.cache=FOLDER."""
    from sightweave import api

    written = api.cache_data(recipe, *(settings or []), out=out, console=_console())
    left = f", {len(written.left_out)} left out" if written.left_out else ""
    _echo(f"{written.pictures} pictures in {out}{left}; train with inputs.cache={out}")


@data_app.command()
def detect(
    data: Annotated[Path, typer.Argument(help="A folder or a file, as it was downloaded.")],
) -> None:
    """Name the format of a path, from its files and their keys; `data=PATH` in a recipe reads it."""
    from sightweave import api

    found = api.detect_data(data)
    for kind, reason in found.items():
        _echo(f"{kind}: {reason}")
    if not found:
        kinds = ", ".join(api.kinds("datasets"))
        _echo(
            f"{data}: no known format. Known: {kinds}. `sightweave list datasets` says what each is.",
            err=True,
        )
        raise typer.Exit(1)


@app.command()
def demo(
    quick: Annotated[bool, typer.Option(help="About three minutes instead of ten.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
) -> None:
    """Train a small model from nothing and see it answer, on pictures that it has never met."""
    from sightweave import demo as story

    run = story.tell(quick=quick, out=out, console=_stdout())
    if run.stop_signal:
        raise typer.Exit(_SIGNALLED + run.stop_signal)


def _stdout() -> Console:
    return terminal.console()


def main() -> None:
    """The entry point: users' mistakes end with one line, not with a traceback."""
    handler = logging.StreamHandler()
    handler.setFormatter(terminal.LogFormatter())
    logging.getLogger("sightweave").addHandler(handler)
    try:
        with _clean_ends():
            app()
    except SightweaveError as error:
        _echo(f"error: {error}", err=True)
        raise SystemExit(1) from None
    except OSError as error:
        _echo(f"error: {error}", err=True)
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
