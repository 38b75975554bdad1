"""What `cxrs-edge export` converts: MODEL, a checkpoint, or the networks of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from cxrs_edge.card import LABELS, RANDOM_WEIGHTS
from cxrs_edge.errors import ModelError
from cxrs_edge.prepare import InputSpec
from cxrs_export.exporting import INTENDED_USE, LICENCE
from cxrs_export.imported import PRESETS, Facts, Imported, import_checkpoint, import_model
from cxrs_export.keras_file import Provenance, load_model

NO_PRESET = "none"
DEFAULT_PRESET = "covidnet-cxr-s"
RANDOM_LICENCE = "Apache-2.0 (random weights)"
RANDOM_USE = "Benchmarks of speed only: random weights, never trained; its answers mean nothing."


@dataclass(frozen=True)
class Loaded:
    """A Keras model and what its files and its card say of it."""

    model: Any
    provenance: Provenance
    name: str = "cxrs"
    labels: tuple[str, ...] = LABELS
    licence: str = LICENCE
    network: str | None = None
    intended_use: str = INTENDED_USE

    @property
    def is_random(self) -> bool:
        """Whether it was never trained."""
        return RANDOM_WEIGHTS.items() <= self.provenance.training.items()


def load_networks(model: Path | None, source: dict[str, Any]) -> Iterator[Loaded]:
    """MODEL if named, in place of the random network of its name, then the others, all for its input."""
    from cxrs_export.backbones import NETWORKS
    from cxrs_export.baselines import random_networks

    names = list(NETWORKS)
    spec = InputSpec()
    if model is not None:
        trained = load_source(model, "gap", source)
        spec = trained.provenance.input
        yield trained
        replaced = trained.name if trained.name in names else "cxrs"
        names = [name for name in names if name != replaced]
    for one in random_networks(spec, *names):
        yield Loaded(
            one.model,
            one.provenance,
            name=one.name,
            licence=RANDOM_LICENCE,
            network=one.network,
            intended_use=RANDOM_USE,
        )


def load_source(model: Path | None, head: str, source: dict[str, Any]) -> Loaded:
    checkpoint = source.pop("checkpoint")
    if model is not None and checkpoint is not None:
        raise click.UsageError(f"MODEL {model} and --checkpoint {checkpoint}: name one of them")
    tensors = {option: source[option] for option in ("image", "output") if source[option] is not None}
    if tensors and checkpoint is None:
        raise click.UsageError(
            "--input and --output name tensors of a --checkpoint; the folder to write is -o"
        )
    if checkpoint is None and (model is None or not (model.is_dir() or model.suffix == ".h5")):
        return _load_keras(model, head, source)
    if head != "gap":
        raise click.UsageError(f"--head {head}: only a .keras model of `train` has two heads")
    return _load_imported(model or checkpoint, checkpoint is not None, source)


def _load_keras(model: Path | None, head: str, source: dict[str, Any]) -> Loaded:
    from cxrs_export.baselines import WORDS
    from cxrs_export.network import has_gap_head, resize_network

    given = [f"--{option.replace('_', '-')}" for option, value in source.items() if value is not None]
    if given:
        raise click.UsageError(
            f"{', '.join(given)}: for a --checkpoint, a SavedModel folder or an .h5 file; a .keras model says it"
        )
    network, provenance = load_model(model or released_checkpoint())
    if head == "flatten" and has_gap_head(network):
        network = resize_network(network, provenance.input.size, head="flatten")
    if network.name in ("resnet50", "chexnet"):
        words = f"{WORDS[network.name]}, {network.count_params():,} parameters"
        return Loaded(network, provenance, name=network.name, network=words)
    return Loaded(network, provenance)


def _load_imported(path: Path, is_checkpoint: bool, source: dict[str, Any]) -> Loaded:
    chosen = source["preset"] or (DEFAULT_PRESET if is_checkpoint else NO_PRESET)
    facts = _facts(chosen, source)
    if is_checkpoint:
        imported = import_checkpoint(path, *_tensors(chosen, source), facts)
    else:
        imported = import_model(path, facts)
    click.echo(_described(imported, facts, chosen))
    return Loaded(
        imported.model,
        imported.provenance,
        name=path.stem if chosen == NO_PRESET else chosen,
        labels=facts.labels,
        licence=facts.licence,
        network=imported.network,
    )


def _tensors(chosen: str, source: dict[str, Any]) -> tuple[str, str]:
    """Names of the image and of the probabilities in a checkpoint's graph."""
    preset = PRESETS.get(chosen)
    image = source["image"] or (None if preset is None else preset.image)
    output = source["output"] or (None if preset is None else preset.output)
    if image is None or output is None:
        raise click.UsageError(f"--checkpoint with --preset {NO_PRESET} needs --input and --output")
    return str(image), str(output)


def _facts(chosen: str, source: dict[str, Any]) -> Facts:
    given = {option: source[option] for option in ("input_range", "crop_top") if source[option] is not None}
    if source["labels"] is not None:
        given["labels"] = tuple(source["labels"].split(","))
    if chosen != NO_PRESET:
        return replace(PRESETS[chosen].facts, **given)
    if not {"input_range", "labels"} <= set(given):
        raise click.UsageError(
            "weights don't say what they were trained on: name --input-range and --labels, or a --preset"
        )
    return Facts(**given)


def _described(imported: Imported, facts: Facts, chosen: str) -> str:
    """What was assumed, in one line: the file can't contradict it."""
    spec, training = imported.provenance.input, imported.provenance.training
    return (
        f"{imported.network} (preset {chosen}): {training['input']} takes {spec.size} x {spec.size} x "
        f"{spec.channels}, {facts.input_range}, channel order {facts.channel_order}, without the top "
        f"{100 * spec.crop_top:g} %; {training['output']} gives {', '.join(facts.labels)}"
    )


def released_checkpoint() -> Path:
    """The checkpoint in the repository that this file, or the current folder, belongs to; else `ModelError`."""
    for clone in (Path(__file__).parents[2], Path.cwd()):
        path = clone / "export" / "checkpoints" / "cxrs.keras"
        if path.is_file():
            return path
    raise ModelError(
        "no MODEL named, and the released checkpoint is only in a clone of the repository; go there, or name "
        "one, for example: cxrs-edge export runs/first/model.keras"
    )
