"""Turn a trained run into the released model: checkpoint, judged, exported, verified, bundled.

    python export/release_model.py runs/cxrs-480/model.keras data/severity --out-of-fold runs/crossval-480

1. The weights are rounded to float16 and saved as export/checkpoints/cxrs.keras, with the temperature and the
   thresholds that its recipe's cross-validation found; all that follows starts from it.
2. It is judged on the test split; these figures and the out-of-fold ones go to docs/released and into the card.
3. It is exported and quantized, calibrated and verified on the training split.
4. The int8 files go to cxrs_edge/models/cxrs, the report to docs/released/export.json.
5. What every engine answers to drawn phantoms is recorded beside them, for `cxrs-edge selftest`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from cxrs_bench.calibration import Platt
from cxrs_bench.evaluation import evaluate, render_text
from cxrs_bench.labelled import in_split, read_labelled
from cxrs_bench.out_of_fold import outcomes
from cxrs_bench.progress import progress
from cxrs_bench.severity_figures import render_figures, severity_figures
from cxrs_export.cli_export_sources import released_checkpoint
from cxrs_export.exporting import REPORT, ExportPlan, export_files
from cxrs_export.golden import record_golden
from cxrs_export.grading import judge_labelled, predict_labelled
from cxrs_export.keras_file import load_model, save_model
from cxrs_export.released_decision import calibrate_zones, fixed_decision, with_decision
from cxrs_export.representative import labelled_sets
from cxrs_export.verify import render_checks
from release_golden import TFLITE_RUNTIME

ROOT = Path(__file__).parents[1]
RELEASED = ROOT / "docs" / "released"
BUNDLE = ROOT / "cxrs_edge" / "models" / "cxrs"
CALIBRATION_IMAGES, VERIFICATION_IMAGES = 100, 100


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("exported"), show_default=True)
@click.option(
    "--out-of-fold",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Folder of the cross-validation of the same recipe.",
)
@TFLITE_RUNTIME
def main(model: Path, data: Path, output: Path, out_of_fold: Path, tflite_runtime: str) -> None:
    """Release MODEL, a run's model.keras, calibrated and judged on the labelled set DATA."""
    checkpoint = ROOT / "export" / "checkpoints" / "cxrs.keras"
    checkpoint.parent.mkdir(exist_ok=True)
    RELEASED.mkdir(parents=True, exist_ok=True)
    network, provenance = load_model(model)
    decision = json.loads((out_of_fold / "decision.json").read_text())
    calibrate_zones(network, Platt(**decision["zones"]))
    save_model(network, checkpoint, with_decision(provenance, decision), half=True)
    network, provenance = load_model(released_checkpoint())
    rows = in_split(read_labelled(data), "test")
    with progress() as report:
        judged = judge_labelled(network, provenance, rows, report=report)
        figures = severity_figures(judged, outcomes(judged, fixed_decision(provenance)))
        click.echo(render_figures(figures))
        calibration, verification = labelled_sets(
            data,
            provenance.input,
            images=None,
            calibration=CALIBRATION_IMAGES,
            verification=VERIFICATION_IMAGES,
            report=report,
        )
        graded = in_split(rows, "test", levels=(1, 2))
        evaluation = evaluate(predict_labelled(checkpoint, graded, report=report))
        accuracy = {
            "model": "float32 Keras",
            "split": "test",
            **evaluation.to_json(),
            "severity": [figure.to_json() for figure in figures],
            "out_of_fold": json.loads((out_of_fold / "figures.json").read_text()),
        }
        click.echo(render_text(evaluation, "float32 Keras, test split"))
        plan = ExportPlan("cxrs", verification, calibration, accuracy=accuracy)
        checks = export_files(network, provenance, plan, output, report=report)
    click.echo(render_checks(checks))
    (RELEASED / "evaluation.json").write_text(json.dumps(accuracy, indent=1) + "\n")
    shutil.copy(output / REPORT, RELEASED / REPORT)
    for kind in ("tflite", "onnx"):
        shutil.copy(output / f"cxrs-int8.{kind}", BUNDLE)
    record_golden({"tflite_runtime": tflite_runtime}, echo=click.echo)


if __name__ == "__main__":
    main()
