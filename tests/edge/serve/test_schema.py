"""The API against its own OpenAPI document: schemathesis sends what fits it and what doesn't."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Hardly any bytes are an X-ray, and no schema can say which.
OPTIONS = [
    "--exclude-checks",
    "positive_data_acceptance",
    "--max-examples",
    "10",
    "--seed",
    "1",
    "--no-color",
]


def test_every_answer_is_as_documented(full_served, tmp_path):
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), environment.get("PYTHONPATH", "")])
    document = f"{full_served.address}/api/openapi.json"
    # It keeps what it found in the current folder.
    command = [sys.executable, "-m", "schemathesis.cli", "run", document, *OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout
    generated = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert generated is not None, done.stdout
    assert int(generated[1]) == int(generated[2]) >= 15
    assert any("uncertain in" in line for line in full_served.said)


def test_the_document_follows_the_grade(served):
    document = served.ask("GET", "/api/openapi.json").json
    assert set(document["paths"]) == {"/api/grade", "/api/seen", "/api/evidence", "/api/about"}
    answer = document["components"]["schemas"]["GradeAnswer"]["properties"]
    assert {"schema", "source", "outcome", "level", "probabilities", "notes", "model", "image"} <= set(answer)
    assert "not for patient care" in document["info"]["description"]
