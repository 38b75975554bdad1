"""The command line: the only file that prints, and the one place that turns errors into exit statuses.

Exit status: 0 every input got an answer, 1 some input or the command ended in an error, 2 wrong usage,
130 interrupted, 141 the reader of the output went away; an error of its own kind may own another.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cxrs_edge.cli_options import (
    ANY_PATH,
    description,
    engine_option,
    model_option,
    open_grader,
    read_model,
    threads_option,
)
from cxrs_edge.cli_progress import is_terminal, with_progress
from cxrs_edge.errors import CxrsError, MissingDependency
from cxrs_edge.version import __version__

if TYPE_CHECKING:
    from cxrs_edge.grade import Failure
    from cxrs_edge.grader import Grader
    from cxrs_edge.render import Style

T = TypeVar("T")

INTERRUPTED, OUTPUT_CLOSED = 130, 141
"""128 + SIGINT and 128 + SIGPIPE, as shells report them."""


@dataclass(frozen=True)
class Lazy:
    """A command whose module is imported when it is called; its short help is told without."""

    module: str
    extra: str
    short_help: str


COMMANDS: Mapping[str, Lazy] = {
    "selftest": Lazy("cxrs_edge.cli_selftest", "tflite", "Does this machine give the released answers?"),
    "explain": Lazy(
        "cxrs_edge.cli_explain", "tflite", "Show what an X-ray's level comes from, and check it."
    ),
    "review": Lazy(
        "cxrs_bench.cli_review", "tflite", "A booklet for readers, and their agreement with the network."
    ),
    "serve": Lazy("cxrs_edge.cli_serve", "serve", "A page to grade X-rays with, and a JSON API."),
    "show": Lazy("cxrs_edge.cli_show", "tflite", "Write what the network sees of an X-ray, as a picture."),
    "watch": Lazy("cxrs_edge.cli_watch", "tflite", "Grade what arrives in a folder, unattended."),
    "evaluate": Lazy("cxrs_export.cli", "bench", "Judge a model or predictions on labelled X-rays."),
    "pretrain": Lazy("cxrs_export.cli_train", "export", "Pretrain the network on thousands of X-rays."),
    "train": Lazy("cxrs_export.cli_train", "export", "Train the network on labelled X-rays."),
    "crossval": Lazy("cxrs_export.cli_crossval", "export", "Train and judge a recipe on folds of patients."),
    "export": Lazy("cxrs_export.cli_export", "export", "Convert a model to verified TFLite and ONNX files."),
    "complexity": Lazy("cxrs_export.cli_complexity", "bench", "Count parameters and MACs of model files."),
    "gate": Lazy("cxrs_export.cli_gate", "bench", "Measure or fit the quality gate."),
    "bench": Lazy("cxrs_bench.cli_bench", "bench", "Measure how long inference takes on this machine."),
    "data": Lazy("cxrs_bench.data.cli", "data", "Prepare, describe and audit data sets."),
    "phantom": Lazy("cxrs_bench.cli", "bench", "Draw a chest phantom to try things with."),
}


class Commands(click.Group):
    """Imports a command when it is called, and reports what fails in it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The commands here, then the lazy ones, in the order of their use."""
        return [*self.commands, *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a lazy command; raises `MissingDependency` when its module needs what isn't installed."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return super().get_command(ctx, cmd_name)
        try:
            command: click.Command = getattr(importlib.import_module(lazy.module), cmd_name)
        except ModuleNotFoundError as error:
            raise MissingDependency(str(error.name).split(".")[0], lazy.extra) from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        here = {name: command.get_short_help_str(80) for name, command in self.commands.items()}
        lazy = {name: command.short_help for name, command in COMMANDS.items()}
        helps = {**here, **lazy}
        with formatter.section("Commands"):
            formatter.write_dl([(name, helps[name]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whatever a user or a file can cause ends in one line and a status."""
        from cxrs_edge.render import printable

        try:
            return super().invoke(ctx)
        except CxrsError as error:
            click.echo(f"Error: {printable(str(error))}", err=True)
            ctx.exit(error.exit_status)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            _drop_output()
            ctx.exit(OUTPUT_CLOSED)
        except OSError as error:
            # Such as a full disk behind standard output.
            _drop_output()
            subject = error.filename or "input or output"
            click.echo(f"Error: {printable(f'{subject}: {error.strerror or error}')}", err=True)
            ctx.exit(CxrsError.exit_status)


def _drop_output() -> None:
    """What is still buffered would raise again when the interpreter flushes it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="cxrs-edge")
def main() -> None:
    """Airspace severity from one chest X-ray, on the device: COVID-Net CXR-S.

    Research software: not a medical device, not for patient care.

    \b
    Example:
      cxrs-edge predict scan.png
    """
    # A file name that the console's encoding lacks must not end the program.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@main.command(short_help="Grade X-rays: files, folders, or - for standard input.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=ANY_PATH)
@model_option
@engine_option
@threads_option
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "csv"]),
    default="text",
    show_default=True,
    help="json is JSON Lines, one object for each image.",
)
@click.option(
    "--gate/--no-gate",
    "gated",
    default=True,
    help="--no-gate grades whatever it is, also what is no upright frontal chest X-ray; each grade says so.",
)
@click.option(
    "--evidence",
    "evidence_dir",
    metavar="DIR",
    type=ANY_PATH,
    help="Write a picture of each image's critical factors to DIR, as `explain` does; json gets the polygons.",
)
@click.pass_context
def predict(
    ctx: click.Context,
    paths: tuple[str, ...],
    model: str | None,
    engine: str,
    threads: int | None,
    style: Style,
    gated: bool,
    evidence_dir: str | None,
) -> None:
    """Grade PNG, JPEG, TIFF, BMP or DICOM X-rays of the chest, seen from the front.

    One result for each image, in the order given, as soon as it is there. A folder stands for the images in
    it and below it, sorted. What is no upright frontal chest X-ray is rejected, with the reason. A bad file doesn't
    stop the others: the exit status is 0 if every input got an answer, else 1.

    \b
    Examples:
      cxrs-edge predict scan.png
      cxrs-edge predict scans/ --format csv > grades.csv
      cxrs-edge predict - < scan.png
      cxrs-edge predict scans/ --evidence pictures --format json > grades.jsonl
    """
    from cxrs_edge.grade import Failure
    from cxrs_edge.inputs import find_images
    from cxrs_edge.memory_limit import limit_memory
    from cxrs_edge.predicting import prepared_inputs
    from cxrs_edge.render import RESEARCH_USE, csv_header, printable, render

    limit_memory()
    inputs, failed = list(find_images(paths)), 0
    grader = open_grader(model, engine, threads, gated=gated)
    answer = _answering(grader, style, evidence_dir)
    click.echo(f"{printable(description(grader))}\n{RESEARCH_USE}", err=True)
    if style == "csv":
        click.echo(csv_header())
    with prepared_inputs(grader.intake, inputs) if evidence_dir is None else nullcontext(inputs) as items:
        for item in _with_progress(items, len(inputs)):
            answered = item if isinstance(item, Failure) else answer(item)
            failed += isinstance(answered, Failure)
            text = render(answered, style) if isinstance(answered, Failure) else answered
            click.echo(text, err=style == "text" and isinstance(answered, Failure))
    if failed:
        click.echo(f"{failed} of {len(inputs)} inputs ended in an error.", err=True)
        ctx.exit(1)


@main.command(short_help="Show a model's card, and what this machine would run it with.")
@click.argument("model", required=False, type=ANY_PATH)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json is one object, with the whole card.",
)
def info(model: str | None, style: str) -> None:
    """Show the card inside a MODEL file, by default the bundled one, and the engines of this machine.

    \b
    Examples:
      cxrs-edge info
      cxrs-edge info my-model.onnx --format json
    """
    import json

    from cxrs_edge.info import describe, render_info

    description = describe(read_model(model, "auto"))
    click.echo(json.dumps(description) if style == "json" else render_info(description))


def _answering(grader: Grader, style: Style, evidence_dir: str | None) -> Callable[[Any], str | Failure]:
    """A prepared input or, where its evidence is asked for, its path -> what is printed of it."""
    from cxrs_edge.predicting import attempt, attempt_path
    from cxrs_edge.render import render

    if evidence_dir is None:
        return lambda prepared: attempt(
            lambda: render(grader.grade_prepared(prepared), style), name=prepared.name
        )
    from cxrs_edge.evidence.answer import answering
    from cxrs_edge.evidence.folder import PICTURE_ONLY

    return partial(attempt_path, answering(grader, style, evidence_dir, PICTURE_ONLY))


def _with_progress(items: Iterable[T], length: int) -> Iterable[T]:
    """Show progress, unless stdout is a terminal: there the results show it."""
    return items if is_terminal(sys.stdout) else with_progress(items, length)
