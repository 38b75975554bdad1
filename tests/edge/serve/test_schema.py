"""The API against its own OpenAPI document: schemathesis sends what fits it and what doesn't."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

XRAY = (Path(__file__).parents[3] / "cxrs_edge/models/cxrs/golden/phantom-1.png").read_bytes()
# Random bytes alone would never be graded.
schemathesis.openapi.media_type(
    "application/octet-stream",
    st.one_of(st.just(XRAY), st.binary(max_size=300), st.integers(0, len(XRAY)).map(lambda end: XRAY[:end])),
)


@pytest.fixture
def api_schema(served):
    return schemathesis.openapi.from_url(f"{served.address}/api/openapi.json")


schema = schemathesis.pytest.from_fixture("api_schema")


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_documented(case):
    case.call_and_validate()


def test_the_document_follows_the_grade(served):
    document = served.ask("GET", "/api/openapi.json").json
    assert set(document["paths"]) == {"/api/grade", "/api/seen", "/api/about"}
    answer = document["components"]["schemas"]["GradeAnswer"]["properties"]
    assert {"schema", "source", "outcome", "level", "probabilities", "notes", "model", "image"} <= set(answer)
    assert "not for patient care" in document["info"]["description"]
