"""Routes for heavy work: dropped pictures, live climbs, exports, and the queue that they wait in."""

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import unquote

from anyio import to_thread
from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from PIL import Image

from advcam.datasets.pictures import read_picture
from advcam.errors import SettingError
from advcam.pipeline.album import Album
from advcam.studio.answers import (
    ClassifierClass,
    ClassifierClasses,
    ClimbAsked,
    DropAnswer,
    ExportAsked,
    JobAnswer,
    JobStarted,
    PredictionAnswer,
    Problem,
)
from advcam.studio.binaries import encode_maps
from advcam.studio.climbing import Climbed, climb
from advcam.studio.handing_over import Exported, export
from advcam.studio.jobs import Job
from advcam.studio.looking import Responses, Side, bytes_answer, jpeg_answer
from advcam.studio.pictures import jpeg, shrunk
from advcam.studio.run_method import climb_settings, climb_steps
from advcam.studio.studio import Studio

_TOP = 5  # predictions of a dropped picture
_REFUSED: Responses = {
    404: {"model": Problem, "description": "There is none."},
    422: {"model": Problem, "description": "It cannot be done as it was asked for."},
}
_FULL: Responses = {429: {"model": Problem, "description": "Too much is waiting."}}
_UPLOAD: Responses = {
    413: {"model": Problem, "description": "It has more bytes than the studio was started with."},
    415: {"model": Problem, "description": "It is no picture of pixels."},
}
_BODY = {"requestBody": {"required": True, "content": {"image/*": {}}}}


def working(studio: Studio) -> APIRouter:
    """The routes."""
    router = APIRouter(responses=_REFUSED)
    _add_drops(router, studio)
    _add_climbs(router, studio)
    _add_jobs(router, studio)
    return router


def _add_drops(router: APIRouter, studio: Studio) -> None:
    @router.post("/drops", tags=["climbing"], summary="Drop in a picture", responses=_UPLOAD, openapi_extra=_BODY)
    async def drop(
        request: Request,
        x_name: Annotated[str, Header(description="of the file, percent-encoded", max_length=1000)] = "picture",
    ) -> DropAnswer:
        async with studio.uploads:
            content = await request.body()
            return await to_thread.run_sync(lambda: _drop(studio, unquote(x_name), content), limiter=studio.heavy)

    @router.get(
        "/drops/{drop}/image", tags=["climbing"], summary="A dropped picture as JPEG", response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )  # fmt: skip
    async def image(drop: str, request: Request, side: Side = 1400) -> Response:
        path = studio.drops.get(drop).path
        return await jpeg_answer(
            studio, request, lambda: (f"{drop} {side}", lambda: jpeg(shrunk(read_picture(path), side)))
        )


def _add_climbs(router: APIRouter, studio: Studio) -> None:
    @router.get("/classifier/classes", tags=["climbing"], summary="Classes of the classifier by a part of their name")
    def classes(text: Annotated[str, Query(max_length=200)] = "") -> ClassifierClasses:
        found = studio.live.search(text)
        return ClassifierClasses(classes=[ClassifierClass(class_id=k, name=name) for k, name in found])

    @router.post("/climbs", tags=["climbing"], summary="Climb a picture; it waits for its turn", responses=_FULL)
    def climbs(asked: ClimbAsked) -> JobStarted:
        studio.live.check(asked.class_ids)
        read = _reader(studio, asked)

        def work(job: Job) -> Climbed:
            classifier, picture = studio.live.load(), read()

            def begin(total: int) -> None:
                job.total = total

            return climb(classifier, picture, asked.class_ids, _settings(studio, asked), begin, job.step)

        return JobStarted(job=studio.jobs.submit("climb", work, lambda made: made.bytes).id)


def _add_jobs(router: APIRouter, studio: Studio) -> None:
    @router.post("/exports", tags=["exports"], summary="Export the masks as a zip file", responses=_FULL)
    def exports(asked: ExportAsked) -> JobStarted:
        def work(job: Job) -> Exported:
            return export(studio.album, asked.format, asked.only, studio.exports, job)

        return JobStarted(job=studio.jobs.submit("export", work).id)

    @router.get("/jobs/{job}", tags=["jobs"], summary="Where a job stands; a climb that nobody asks about ends")
    def job_(job: str) -> JobAnswer:
        return _described(studio, studio.jobs.get(job))

    @router.delete("/jobs/{job}", tags=["jobs"], summary="End a job: at once while it waits, else within a step")
    def cancel(job: str) -> JobAnswer:
        found = studio.jobs.get(job)
        studio.jobs.cancel(found)
        return _described(studio, found)

    @router.get("/jobs/{job}/maps", tags=["jobs"], summary="Maps of a climb that is done", response_class=Response)
    def maps(job: str) -> Response:
        made = _result(studio, job, Climbed, "maps")
        attribution = made.attribution
        classes = zip(attribution.class_ids, attribution.class_names, strict=True)
        numbers = [_number(studio.album, class_id, name) for class_id, name in classes]
        return bytes_answer(encode_maps(numbers, attribution, made.step_scores))

    @router.get("/jobs/{job}/file", tags=["jobs"], summary="File of an export that is done", response_class=Response)
    def file(job: str) -> FileResponse:
        made = _result(studio, job, Exported, "file")
        if not made.path.is_file():
            raise HTTPException(404, "the file of this export is gone; export again")
        return FileResponse(made.path, media_type="application/zip", filename=made.path.name)


def _drop(studio: Studio, name: str, content: bytes) -> DropAnswer:
    kept, picture = studio.drops.keep(name, content)
    seen = studio.live.load().predict(picture, _TOP)
    return DropAnswer(
        drop=kept.id,
        name=kept.name,
        width=kept.width,
        height=kept.height,
        predictions=[
            PredictionAnswer(class_id=one.class_id, name=one.class_name, probability=one.probability) for one in seen
        ],
    )


def _number(album: Album, class_id: int, name: str) -> int | None:
    """Number in masks of a class of the live classifier, which need not be that of the run."""
    number = album.number_of(class_id)
    return number if number is not None and album.classes.get(number) == name else album.table.number(name)


def _settings(studio: Studio, asked: ClimbAsked) -> dict[str, Any]:
    """Arguments of the climb: those of the run, unless an effort was asked for, which decides them all."""
    chosen = climb_settings(studio.method) if asked.effort is None else {"effort": asked.effort}
    return {**chosen, "iterations": climb_steps(studio.method) if asked.iterations is None else asked.iterations}


def _reader(studio: Studio, asked: ClimbAsked) -> Callable[[], Image.Image]:
    """What reads the picture that is to be climbed, once its turn has come."""
    if (asked.picture is None) == (asked.drop is None):
        raise SettingError("a climb is of one picture: name either picture (its place in the run) or drop")
    if asked.drop is not None:
        path = studio.drops.get(asked.drop).path
    else:
        path = studio.album.sample(studio.id_of(asked.picture or 0)).path
    return lambda: read_picture(path)


def _result(studio: Studio, id_: str, kind: type[Any], what: str) -> Any:  # noqa: ANN401, of that kind
    """The result of a job that is done.

    Raises:
        HTTPException: It is not, or it has another kind of result.
    """
    job = studio.jobs.get(id_)
    if not isinstance(job.result, kind):
        why = f": {job.detail}" if job.detail else ""
        raise HTTPException(404, f"this {job.kind} is {job.state} and has no {what}{why}")
    return job.result


def _described(studio: Studio, job: Job) -> JobAnswer:
    return JobAnswer(
        job=job.id,
        kind=job.kind,
        state=job.state,
        position=studio.jobs.position(job),
        done=job.done,
        total=job.total,
        detail=job.detail,
    )
