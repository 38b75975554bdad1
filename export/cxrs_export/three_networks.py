"""CXR-S, ResNet-50 and CheXNet by one protocol: pretrained and cross-validated alike, from random weights.

Nothing is chosen by what the networks are then judged on: the learning rate of each is the better one of a few by the
pretraining set's held-out loss, and the fine-tuning's rate follows from it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from cxrs_bench.calibration import level2_probability
from cxrs_bench.evaluation import Estimate, evaluate
from cxrs_bench.findings import FindingSet, findings_digest
from cxrs_bench.labelled import LabelledSet, set_digest
from cxrs_bench.out_of_fold import Judged
from cxrs_bench.paired import balanced_accuracy_difference, paired_difference
from cxrs_bench.predictions import Predictions
from cxrs_bench.progress import Report
from cxrs_bench.published import LABELS, NAMES
from cxrs_edge.files import write_atomically
from cxrs_export.backbones import NetworkName
from cxrs_export.crossval import cross_validate
from cxrs_export.keras_file import package_versions
from cxrs_export.pretraining import pretrain
from cxrs_export.run_folder import EpochResult, read_history
from cxrs_export.train_config import TrainConfig

RATES = (0.0003, 0.001)
"""Learning rates that each network is tried with."""
TRIAL = 6
"""The trials see every sixth X-ray, once."""
TUNING_SHARE = 0.4
"""Of the pretraining's learning rate; the bundled model's first two stages have 0.001 and 0.0004."""


@dataclass(frozen=True)
class Protocol:
    """What all networks are put through.

    Attributes
    ----------
    pretraining, tuning : recipes; network and learning rate are put in.
    findings : what is pretrained on, without the patients of `rows`.
    rows : what is fine-tuned and judged on, by folds of patients.
    """

    pretraining: TrainConfig
    tuning: TrainConfig
    findings: FindingSet
    rows: LabelledSet


@dataclass(frozen=True)
class Trained:
    """A network's out-of-fold predictions and how it came to them.

    Attributes
    ----------
    pretrained : the last epoch's result.
    trials : held-out loss (nats) by learning rate.
    cpu_seconds : of all cores, until now, stages that were gone through before included.
    """

    judged: Judged
    recipes: Mapping[str, TrainConfig]
    trials: Mapping[float, float]
    pretrained: EpochResult
    cpu_seconds: float


def train_network(
    network: NetworkName,
    protocol: Protocol,
    run: Path,
    *,
    report: Report = lambda *_: None,
    on_epoch: Callable[[str, EpochResult], None] = lambda *_: None,
) -> Trained:
    """Train, or go on training, one network in the folder `run`; `on_epoch` is told the stage and its result."""
    clock = _Clock(run / "cpu-seconds")

    def of(stage: str) -> Callable[[EpochResult], None]:
        def tell(result: EpochResult) -> None:
            clock.tick()
            on_epoch(stage, result)

        return tell

    first = replace(protocol.pretraining, network=network)
    trials = {}
    for rate in RATES:
        folder = run / f"rate-{rate:g}"
        config = replace(first, learning_rate=rate, epochs=1)
        pretrain(thinned(protocol.findings, TRIAL), config, folder, report=report, on_epoch=of(folder.name))
        trials[rate] = read_history(folder)[-1].validation_loss
    rate = min(trials, key=lambda rate: trials[rate])
    first = replace(first, learning_rate=rate)
    second = replace(protocol.tuning, network=network, learning_rate=TUNING_SHARE * rate)
    start = pretrain(protocol.findings, first, run / "pretrained", report=report, on_epoch=of("pretraining"))
    judged = cross_validate(
        protocol.rows,
        second,
        run / "folds",
        init=start,
        report=report,
        on_epoch=lambda fold, result: of(f"fold {fold}")(result),
    )
    history = read_history(run / "pretrained")
    recipes = {"pretraining": first, "tuning": second}
    return Trained(judged, recipes, trials, history[-1], clock.tick())


def thinned(rows: FindingSet, every: int) -> FindingSet:
    """Every so many of the training images of each source and finding, at least one; all others stay."""
    seen: dict[tuple[str, str], int] = defaultdict(int)
    kept = []
    for row in rows:
        if row.split == "train":
            seen[row.source, row.finding] += 1
            if seen[row.source, row.finding] % every != 1 % every:
                continue
        kept.append(row)
    return tuple(kept)


def comparison(
    trained: Mapping[str, Trained], protocol: Protocol, *, resamples: int = 2000
) -> dict[str, Any]:
    """What `cxrs_bench.reporting.three_networks` reads, and beside it all that the figures depend on."""
    predictions = {name: graded(one.judged) for name, one in trained.items()}
    training = [row for row in protocol.findings if row.split == "train"]
    return {
        "protocol": _in_words(trained, predictions, len(training), protocol),
        "networks": {
            name: {
                **evaluate(predictions[name], resamples=resamples).to_json(),
                "cpu_minutes": round(one.cpu_seconds / 60, 1),
                "trials": {f"{rate:g}": loss for rate, loss in one.trials.items()},
                "pretrained": {
                    "loss": one.pretrained.validation_loss,
                    "mean_recall": one.pretrained.validation_accuracy,
                },
                "recipes": {stage: asdict(recipe) for stage, recipe in one.recipes.items()},
            }
            for name, one in trained.items()
        },
        "pairs": [
            {"a": a, "b": b, **_pair(predictions[a], predictions[b], resamples)}
            for a, b in combinations(predictions, 2)
        ],
        "data": {
            "findings_sha256": findings_digest(protocol.findings),
            "severity_sha256": set_digest(protocol.rows),
        },
        "packages": package_versions(),
    }


def render_comparison(found: Mapping[str, Any]) -> str:
    """Two Markdown tables: the networks' figures, and their differences."""
    columns = ("sensitivity_level1", "sensitivity_level2", "balanced_accuracy", "auc")
    head = ["network", *(LABELS.get(column, "AUC") for column in columns), "learning rate", "CPU minutes"]
    lines = [_row(head), "|---" * len(head) + "|"]
    for name, one in found["networks"].items():
        figures = [Estimate(**one["by_image"][column]) for column in columns]
        rate = one["recipes"]["pretraining"]["learning_rate"]
        lines.append(_row([NAMES[name], *figures, f"{rate:g}", f"{one['cpu_minutes']:.0f}"]))
    head = ["difference", "balanced accuracy", "AUC", "McNemar's exact p"]
    lines += ["", _row(head), "|---" * len(head) + "|"]
    for pair in found["pairs"]:
        balanced = Estimate(**{key: pair[key] for key in ("value", "low", "high", "undefined_share")})
        names = f"{NAMES[pair['a']]} less {NAMES[pair['b']]}"
        lines.append(_row([names, balanced, Estimate(**pair["auc_difference"]), f"{pair['mcnemar_p']:.2f}"]))
    return "\n".join(lines)


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def graded(of: Judged) -> Predictions:
    """The out-of-fold predictions of the images of level 1 or 2, as trained: no temperature, the likelier level."""
    chosen = of.at(of.levels > 0)
    return Predictions(
        tuple(row.image_id for row in chosen.rows),
        tuple(chosen.patients),
        chosen.levels,
        level2_probability(chosen.margins, 1.0),
    )


def _pair(a: Predictions, b: Predictions, resamples: int) -> dict[str, Any]:
    balanced = balanced_accuracy_difference(a, b, resamples=resamples)
    return {**balanced.to_json(), **paired_difference(a, b, resamples=resamples).to_json()}


def _in_words(
    trained: Mapping[str, Trained], predictions: Mapping[str, Predictions], training: int, protocol: Protocol
) -> str:
    first, second = protocol.pretraining, protocol.tuning
    one = next(iter(predictions.values()))
    minutes = sum(network.cpu_seconds for network in trained.values()) / 60
    rates = " and ".join(f"{rate:g}" for rate in RATES)
    return (
        f"All alike, from random weights, at {second.size} x {second.size} pixels: {first.epochs} epoch(s) on "
        f"{training:,} X-rays labelled with findings, then {second.epochs} epochs for level, zones and extents on "
        f"all folds of patients but one; judged on that one. {len(one.names)} images of {len(set(one.patients))} "
        "patients, each graded by a network that saw none of the patient's. Learning rate: for each network the "
        f"better of {rates} by the held-out loss of the first stage. {minutes:.0f} CPU minutes in all. Intervals: "
        "95 %, patients resampled."
    )


class _Clock:
    """CPU seconds of a run that is killed and goes on: this process's, added to those in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._before = float(path.read_text()) if path.exists() else 0.0
        self._start = time.process_time()

    def tick(self) -> float:
        """All seconds so far, which the file then holds."""
        seconds = self._before + time.process_time() - self._start
        write_atomically(self._path, f"{seconds!r}\n".encode())
        return seconds
