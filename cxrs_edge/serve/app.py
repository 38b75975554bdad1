"""The routes: one upload in, the same JSON as `cxrs-edge predict --format json` out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cxrs_edge.errors import CxrsError, InputError
from cxrs_edge.grade import Failure
from cxrs_edge.grader import Grader
from cxrs_edge.image import MAX_BYTES, read_image
from cxrs_edge.intake import enough_memory
from cxrs_edge.prepare import pixels_needed
from cxrs_edge.render import COLUMNS, MEANING, RESEARCH_USE, render
from cxrs_edge.serve.answers import About, ErrorAnswer, GradeAnswer
from cxrs_edge.serve.desk import Desk
from cxrs_edge.serve.refusal import SOURCE, Refusal, answer, answer_failure
from cxrs_edge.serve.static_files import add_static_files
from cxrs_edge.serve.upload import declared_size, read_body
from cxrs_edge.show import draw_evidence, draw_square
from cxrs_edge.version import __version__

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in {
        401: "No or wrong token.",
        403: "The request comes from another site's page.",
        404: "The model has no such output.",
        408: "The file came too slowly.",
        411: "The request does not state the file's length.",
        413: "The file is too large.",
        415: "The file is in a form.",
        421: "The Host header names another server.",
        422: "The file is no gradable X-ray; the message says why.",
        500: "The engine broke down, or a package that the file needs is not installed.",
        503: "Too many requests are waiting, or the server is stopping; see Retry-After.",
    }.items()
}
BODY = {
    "requestBody": {
        "required": True,
        "description": "The bytes of one PNG, JPEG, TIFF, BMP or DICOM file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}, **REFUSALS}


def make_app(grader: Grader, desk: Desk, report: Callable[[str], None]) -> FastAPI:
    """The application; `report` gets one line for each upload, without names or levels."""
    app = FastAPI(
        title="cxrs-edge",
        version=__version__,
        description=f"Airspace severity from one chest X-ray. {RESEARCH_USE}",
        openapi_url="/api/openapi.json",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    _add_grade(app, grader, desk, report)
    _add_pictures(app, grader, desk, report)
    _add_about(app, grader)
    add_static_files(app)
    _add_error_answers(app, report)
    return app


async def _answer_upload(desk: Desk, request: Request, work: Callable[[bytes], Response]) -> Response:
    with desk.memory(declared_size(request)):
        data = await read_body(request)
        return await desk.run(lambda: work(data), request)


def _add_grade(app: FastAPI, grader: Grader, desk: Desk, report: Callable[[str], None]) -> None:
    def grade_bytes(data: bytes) -> Response:
        grade = grader.grade(data, name=SOURCE)
        report(f"{grade.outcome} in {sum(grade.timing_ms.values()):.0f} ms")
        return Response(render(grade, "json"), media_type="application/json")

    answers: dict[int | str, dict[str, Any]] = {200: {"model": GradeAnswer}, **REFUSALS}

    @app.post("/api/grade", responses=answers, openapi_extra=BODY, summary="Grade")
    async def grade(request: Request) -> Response:
        """Grade one X-ray: the very same answer as `cxrs-edge predict --format json` gives."""
        return await _answer_upload(desk, request, grade_bytes)


def _add_pictures(app: FastAPI, grader: Grader, desk: Desk, report: Callable[[str], None]) -> None:
    def draw_bytes(data: bytes) -> Response:
        with enough_memory(SOURCE):
            image = read_image(data, name=SOURCE, at_least=pixels_needed(grader.card.input))
            picture = draw_square(image, grader.card)
        report("drawn")
        return Response(picture, media_type="image/png")

    def colour_bytes(data: bytes) -> Response:
        examined = grader.examine(data, name=SOURCE)
        if examined.grade.outcome == "rejected":
            why = "; ".join(examined.grade.notes)
            raise Refusal(422, "rejected", f"{SOURCE}: rejected, so the model has not seen it: {why}")
        picture = draw_evidence(examined.pixels, examined.outputs["evidence"])
        report("drawn")
        return Response(picture, media_type="image/png")

    add = partial(app.post, responses=PICTURE, response_class=Response, openapi_extra=BODY)

    @add("/api/seen", summary="Show what the network sees")
    async def seen(request: Request) -> Response:
        """Draw the square that the network gets of one X-ray, as a PNG without any text of the file."""
        return await _answer_upload(desk, request, draw_bytes)

    @add("/api/evidence", summary="Show what speaks for the levels")
    async def evidence(request: Request) -> Response:
        """Colour what the network sees by what speaks for level 2 (orange) and level 1 (blue), as a PNG.

        Only where ``/api/about`` names the output ``evidence``.
        """
        if "evidence" not in grader.card.outputs:
            raise Refusal(
                404, "model", f"model {grader.card.name}: has no output evidence; use another model"
            )
        return await _answer_upload(desk, request, colour_bytes)


def _add_about(app: FastAPI, grader: Grader) -> None:
    @app.get("/api/about", responses={status: REFUSALS[status] for status in (401, 403, 421)})
    async def about() -> About:
        """What answers here."""
        return About(
            version=__version__,
            model=grader.model_info,
            engine=grader.engine_info,
            max_bytes=MAX_BYTES,
            csv_columns=COLUMNS,
            meaning=MEANING,
            outputs=tuple(grader.card.outputs),
            accuracy=dict(grader.card.accuracy),
            research_use=RESEARCH_USE,
        )


def _add_error_answers(app: FastAPI, report: Callable[[str], None]) -> None:
    @app.exception_handler(Refusal)
    async def refuse(_request: Request, refusal: Refusal) -> Response:
        report(f"refused: {refusal.kind}")
        return answer(refusal)

    @app.exception_handler(CxrsError)
    async def fail(_request: Request, error: CxrsError) -> Response:
        report(f"refused: {error.kind}")
        return answer_failure(Failure.of(SOURCE, error), 422 if isinstance(error, InputError) else 500)

    @app.exception_handler(HTTPException)
    async def misdirected(_request: Request, error: HTTPException) -> Response:
        failure = Failure(SOURCE, "request", f"request: {error.detail}; see /api/openapi.json")
        return answer_failure(failure, error.status_code, dict(error.headers or {}))

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> Response:
        return answer(Refusal(499, "gone", "the client left"))

    @app.exception_handler(MemoryError)
    async def crowded(_request: Request, _error: MemoryError) -> Response:
        return answer(Refusal(503, "busy", "image: no memory for it now; try again later", 10))

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> Response:
        return answer(Refusal(500, "error", "image: this server failed; its log says where"))
