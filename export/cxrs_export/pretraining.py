"""Pretraining on findings: what a chest X-ray looks like, learned from thousands of them.

In pooled collections the source predicts the finding. Three things keep the network from living on that: the softmax
runs over the findings that occur in an image's source only, so that knowing the source earns nothing; within a source
every finding is shown equally often; and a `cxrs_export.disguise` hides shape, tone, border and sharpness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrs_bench.findings import FindingSet, findings_digest
from cxrs_bench.progress import Report
from cxrs_edge.errors import TrainingError
from cxrs_edge.extras import import_extra
from cxrs_export.backbones import build_backbone
from cxrs_export.batches import changed_batches, load_planes, plain_batches, shared_order
from cxrs_export.keras_file import Provenance, package_versions, save_model
from cxrs_export.loop import copy_weights, init_provenance, make_deterministic, run_epochs, starting_point
from cxrs_export.run_folder import MODEL, EpochResult, claim_folder
from cxrs_export.train_config import TrainConfig

if TYPE_CHECKING:
    import keras

IMPOSSIBLE = -1e4
"""Added to a logit, leaves its softmax at 0 in float32."""


@dataclass(frozen=True)
class Catalogue:
    """The findings of a set and the sources they occur in.

    Attributes
    ----------
    findings, sources : sorted names; a finding's place is its class.
    occurs : bool, sources x findings.
    """

    findings: tuple[str, ...]
    sources: tuple[str, ...]
    occurs: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: FindingSet) -> Catalogue:
        """The catalogue of these images."""
        findings, sources = (tuple(sorted(set(names))) for names in zip(*_labels(rows), strict=True))
        occurs = np.zeros((len(sources), len(findings)), bool)
        for finding, source in _labels(rows):
            occurs[sources.index(source), findings.index(finding)] = True
        return cls(findings, sources, occurs)

    def classes(self, rows: FindingSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Class and source of each image, as numbers, N and N."""
        pairs = [(self.findings.index(f), self.sources.index(s)) for f, s in _labels(rows)]
        both = np.array(pairs, np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]


def pretrain(
    rows: FindingSet,
    config: TrainConfig,
    run: Path,
    *,
    init: Path | None = None,
    report: Report = lambda *_: None,
    on_epoch: Callable[[EpochResult], None] = lambda _: None,
) -> Path:
    """Pretrain, or go on pretraining, in the folder `run`; returns the path of ``model.keras``. A finished run stays.

    Parameters
    ----------
    rows : images of the splits ``train`` and, to be judged on after each epoch, ``val``.
    init : the network of an earlier stage (any input size).
    report, on_epoch : progress; `EpochResult.validation_accuracy` is the mean recall over source and finding.

    Raises
    ------
    TrainingError : the folder holds a run with other settings or other data, or nothing to tell apart.
    """
    make_deterministic(config.seed)
    training, held_out = (tuple(row for row in rows if row.split == split) for split in ("train", "val"))
    catalogue = _check_rows(training, held_out)
    claim_folder(run, config, starting_point(findings_digest(rows), init))
    if (run / MODEL).exists():
        return run / MODEL
    # Before the training, so that nothing can be missing after it.
    provenance = _provenance(training, config, catalogue, init)
    task = _FindingTask(
        config=config,
        init=init,
        catalogue=catalogue,
        planes=load_planes([row.path for row in training], config.input_spec, report),
        labels=catalogue.classes(training),
        held_out=load_planes([row.path for row in held_out], config.input_spec, report),
        held_out_labels=catalogue.classes(held_out),
    )
    model = run_epochs(task, config, run, report=report, on_epoch=on_epoch)
    save_model(model, run / MODEL, provenance)
    return run / MODEL


@dataclass(frozen=True)
class _FindingTask:
    """A `cxrs_export.loop.Task`: which of the findings that occur in the image's source."""

    config: TrainConfig
    init: Path | None
    catalogue: Catalogue
    planes: NDArray[np.uint8]
    labels: tuple[NDArray[np.int64], NDArray[np.int64]]
    held_out: NDArray[np.uint8]
    held_out_labels: tuple[NDArray[np.int64], NDArray[np.int64]]

    @property
    def steps(self) -> int:
        return -(-len(self.planes) // self.config.batch)

    def build(self) -> keras.Model:
        keras = import_extra("keras", "export")
        classes = len(self.catalogue.findings)
        network = _finding_network(self.config, classes)
        if self.init is not None:
            copy_weights(self.init, network)
        excluded = keras.Input((classes,), name="excluded")
        logits = keras.layers.Add(name="possible_logits")([network.output, excluded])
        model = keras.Model([network.input, excluded], logits)
        model.compile(
            optimizer=keras.optimizers.Adam(self.config.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model

    def batches(self, epoch: int) -> Iterator[tuple[Any, Any]]:
        finding, source = self.labels
        groups, shares = _groups(finding, source)
        order = shared_order(groups, shares, (self.steps, self.config.batch), (self.config.seed, epoch))
        for batch in changed_batches(self.planes, order, self.config, epoch):
            yield [batch.pixels, self._excluded(source[batch.indices])], finding[batch.indices]

    def validate(self, model: keras.Model, result: EpochResult) -> EpochResult:
        if not len(self.held_out):
            return result
        finding, source = self.held_out_labels
        logits, done = [], 0
        for pixels in plain_batches(self.held_out, self.config.channels):
            excluded = self._excluded(source[done : done + len(pixels)])
            logits.append(np.asarray(model.predict_on_batch([pixels, excluded]), np.float64))
            done += len(pixels)
        loss, recall = judge_findings(np.concatenate(logits), finding, source)
        return replace(result, validation_loss=loss, validation_accuracy=recall)

    def finish(self, model: keras.Model) -> keras.Model:
        keras = import_extra("keras", "export")
        return keras.Model(model.input[0], model.get_layer("finding_logits").output, name=_name(self.config))

    def _excluded(self, source: NDArray[np.int64]) -> NDArray[np.float32]:
        excluded: NDArray[np.float32] = np.where(self.catalogue.occurs[source], 0, IMPOSSIBLE).astype(
            np.float32
        )
        return excluded


def _finding_network(config: TrainConfig, classes: int) -> keras.Model:
    """From ``image`` (pixel values 0..255) to ``finding_logits``, float32, N x classes; random weights."""
    keras = import_extra("keras", "export")
    image, features = build_backbone(config.network, config.size, config.channels)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(features)
    return keras.Model(image, keras.layers.Dense(classes, name="finding_logits")(x), name=_name(config))


def _name(config: TrainConfig) -> str:
    return f"{config.network}-pretraining"


def judge_findings(
    logits: NDArray[np.float64], finding: NDArray[np.int64], source: NDArray[np.int64]
) -> tuple[float, float]:
    """Cross-entropy (nats) and mean recall, both with every pair of source and finding counted equally.

    Parameters
    ----------
    logits : N x classes, those that do not occur in the source lowered by `IMPOSSIBLE`.
    finding, source : N, numbers.
    """
    log_odds = logits - logits.max(axis=1, keepdims=True)
    log_odds -= np.log(np.exp(log_odds).sum(axis=1, keepdims=True))
    losses = -log_odds[np.arange(len(finding)), finding]
    right = logits.argmax(axis=1) == finding
    pairs = [(finding == f) & (source == s) for s, f in np.unique(np.stack([source, finding], 1), axis=0)]
    return (float(np.mean([v[pair].mean() for pair in pairs])) for v in (losses, right))  # type: ignore[return-value]


def _groups(
    finding: NDArray[np.int64], source: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number the pairs of source and finding, and say how large a share of an epoch each one gets.

    Findings of a source get equal shares. A source's share grows with the root of its images: a small one is
    seen more often than its size says, yet not so often that the network learns its images by heart.
    """
    pairs, groups = np.unique(np.stack([source, finding], axis=1), axis=0, return_inverse=True)
    of_source = np.sqrt(np.bincount(source)) / np.bincount(pairs[:, 0])
    shares = of_source[pairs[:, 0]]
    return groups.ravel(), shares / shares.sum()


def _check_rows(training: FindingSet, held_out: FindingSet) -> Catalogue:
    if not training:
        raise TrainingError("no images of split train; expected train and, to judge by, val")
    catalogue = Catalogue.of(training)
    for source, occurs in zip(catalogue.sources, catalogue.occurs, strict=True):
        if occurs.sum() < 2:
            raise TrainingError(
                f"source {source}: holds one finding only, so that its images teach nothing; leave it out"
            )
    unknown = set(_labels(held_out)) - set(_labels(training))
    if unknown:
        finding, source = min(unknown)
        raise TrainingError(f"split val: {finding} of source {source} does not occur in split train")
    return catalogue


def _labels(rows: FindingSet) -> list[tuple[str, str]]:
    return [(row.finding, row.source) for row in rows]


def _provenance(rows: FindingSet, config: TrainConfig, catalogue: Catalogue, init: Path | None) -> Provenance:
    training = {
        "data_sha256": findings_digest(rows),
        "findings": list(catalogue.findings),
        "sources": list(catalogue.sources),
        "images": len(rows),
        "patients": len({row.patient for row in rows}),
        "recipe": asdict(config),
        "packages": package_versions(),
        **init_provenance(init),
    }
    return Provenance(input=config.input_spec, training=training)
