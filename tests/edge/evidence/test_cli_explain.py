"""`cxrs-edge explain` and `predict --evidence` on files, through the command line."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_models import FULL

from cxrs_edge.cli import main


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def model(write_model):
    return write_model("onnx", **FULL)


def test_explain_writes_three_files_and_a_bad_one_stops_nothing(model, draw_xray, tmp_path):
    scan, bad, out = draw_xray("scan.png"), tmp_path / "bad.png", tmp_path / "out"
    bad.write_bytes(b"no image")
    done = run("explain", bad, scan, "-o", out, "--model", model, "--engine", "onnx")
    assert done.exit_code == 1
    assert sorted(path.name for path in out.iterdir()) == [
        "scan.png.evidence.html",
        "scan.png.evidence.json",
        "scan.png.evidence.png",
    ]
    assert f"{scan}: graded level 1" in done.stdout
    assert "critical" in done.stdout
    assert str(out / "scan.png.evidence.png") in done.stdout
    assert "bad.png" in done.stderr
    assert "1 of 2 inputs got no answer." in done.stderr
    assert "Traceback" not in done.output


def test_predict_writes_a_picture_for_each_image(model, draw_xray, tmp_path):
    scans = [draw_xray("a/scan.png"), draw_xray("b/scan.png", seed=1)]
    before = [scan.read_bytes() for scan in scans]
    missing = tmp_path / "missing.png"
    arguments = ("--model", model, "--engine", "onnx", "--format", "json")
    done = run("predict", missing, *scans, "--evidence", tmp_path / "a", *arguments)
    assert done.exit_code == 1
    failure, *found = map(json.loads, done.stdout.splitlines())
    assert failure["outcome"] == "error"
    plain = [json.loads(line) for line in run("predict", *scans, *arguments).stdout.splitlines()]
    names = ("scan.png.evidence.png", "scan-2.png.evidence.png")
    for with_evidence, without, name in zip(found, plain, names, strict=True):
        evidence = with_evidence.pop("evidence")
        assert evidence["explained"]
        assert evidence["files"] == [str(tmp_path / "a" / name)]
        assert evidence["candidates"][0]["polygon"]
        for grade in (with_evidence, without):
            grade.pop("timing_ms")
        assert with_evidence == without
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "scan-2.png.evidence.png",
        "scan.png",
        "scan.png.evidence.png",
    ]
    assert [scan.read_bytes() for scan in scans] == before
    assert Image.open(tmp_path / "a" / "scan-2.png.evidence.png").format == "PNG"


def test_predict_csv_is_as_without(model, draw_xray, tmp_path):
    done = run(
        "predict",
        draw_xray(),
        "--evidence",
        tmp_path / "out",
        "--model",
        model,
        "--engine",
        "onnx",
        "--format",
        "csv",
    )
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 2
    assert (tmp_path / "out" / "scan.png.evidence.png").exists()


@pytest.mark.parametrize(
    "command",
    [("explain", "scan.png", "-o"), ("predict", "scan.png", "--evidence")],
    ids=["explain", "predict"],
)
def test_a_model_without_evidence_is_refused(command, write_model, tmp_path):
    out = tmp_path / "out"
    done = run(*command, out, "--model", write_model("onnx"), "--engine", "onnx")
    assert done.exit_code == 1
    assert "Error: model tiny: has no output evidence, so it can't be explained; expected" in done.stderr
    assert not out.exists()


def test_a_rejected_image_gets_no_file_but_the_reason(draw_xray, tmp_path):
    done = run("explain", draw_xray(), "-o", tmp_path / "out", "--threads", "1", "--format", "json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["outcome"] == "rejected"
    reason = "; ".join(["rejected", *found["notes"]])
    assert found["evidence"] == {"explained": False, "reason": reason, "files": []}
    assert list((tmp_path / "out").iterdir()) == []
