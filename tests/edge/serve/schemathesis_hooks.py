"""For schemathesis: random bytes alone would never be an X-ray."""

from __future__ import annotations

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _draw() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


XRAY = _draw()
schemathesis.openapi.media_type(
    "application/octet-stream", st.sampled_from([XRAY, XRAY[:-20], XRAY[:50], b"", b"BM", b"%PDF-1.7"])
)
