"""The studio as an ASGI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

import advcam
from advcam.errors import AdvcamError, PictureError, RunError, SettingError, one_line
from advcam.store.corrections import ConflictError
from advcam.studio.access import HEADER, MOST_JSON, Access, App, Guard
from advcam.studio.api_page import api_page
from advcam.studio.jobs import QueueFullError
from advcam.studio.looking import looking
from advcam.studio.missing import MissingError
from advcam.studio.reviewing import reviewing
from advcam.studio.studio import Studio
from advcam.studio.working import working
from advcam.untrusted import MOST_PIXELS

STATIC = Path(__file__).parent / "static"
_DESCRIPTION = f"""What the page of `advcam studio` asks. Pictures are known by their place in the run, from 0; classes
by their number in masks, or, where `class_id` stands, by the output of the classifier. Whatever changes something
carries the header `{HEADER}: 1`. A server with a token wants it as `Authorization: Bearer TOKEN`, or once as
`?token=TOKEN`, which sets a cookie. Errors are `{{"detail": "one sentence"}}`."""
_TAGS = [
    {"name": "looking", "description": "The run, its pictures, maps and masks."},
    {"name": "mending", "description": "Verdicts on pictures, and masks that were drawn anew."},
    {"name": "climbing", "description": "New pictures, and climbs while you watch."},
    {"name": "exports", "description": "The masks in the formats of other tools."},
    {"name": "jobs", "description": "Heavy work: one piece at a time, the others wait."},
]


def create_app(studio: Studio, access: Access) -> App:
    """The application.

    Args:
        studio: What it shows.
        access: What it asks of visitors.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        studio.start()
        try:
            yield
        finally:
            studio.close()

    app = FastAPI(
        title="advcam studio",
        version=advcam.__version__,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    for router in (looking(studio), reviewing(studio), working(studio)):
        app.include_router(router, prefix="/api")
    _add_pages(app)
    _add_errors(app)

    def most_bytes(path: str) -> int:
        if path == "/api/drops":
            return studio.most_upload
        return 2 * MOST_PIXELS if path.endswith("/mask") else MOST_JSON

    return Guard(app, access, most_bytes)


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/api/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(api_page(app.openapi()))

    app.mount("/static", _Fresh(directory=STATIC), name="static")


class _Fresh(StaticFiles):
    """Files that browsers ask about each time: another version of advcam may stand behind the same address."""

    def file_response(self, *arguments: object, **named: object) -> Response:
        response = super().file_response(*arguments, **named)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response


def _add_errors(app: FastAPI) -> None:
    """Errors of ours as answers of one sentence."""

    def conflict(_: Request, error: ConflictError) -> JSONResponse:
        found = {"status": error.review.status, "revision": error.review.revision}
        return JSONResponse({"detail": one_line(error), **found}, 409)

    def known(request: Request, error: AdvcamError) -> JSONResponse:
        return JSONResponse({"detail": one_line(error)}, _status(request, error))

    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
        return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)

    def broken(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": f"the studio failed ({type(error).__name__}: {one_line(error)})"}, 500)

    handlers: dict[type[Exception], Callable[..., JSONResponse]] = {
        ConflictError: conflict,
        AdvcamError: known,
        RequestValidationError: invalid,
        Exception: broken,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _status(request: Request, error: AdvcamError) -> int:
    """What an error means in HTTP."""
    looks = request.method == "GET"
    if isinstance(error, MissingError):
        return 404
    if isinstance(error, QueueFullError):
        return 429
    if isinstance(error, PictureError):
        return 404 if looks else 415
    if isinstance(error, RunError):
        return 404 if looks else 403
    return 422 if isinstance(error, SettingError) or not looks else 404
