"""Routes for looking: the run, its pictures, maps and masks. None of them changes anything."""

import gzip
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from anyio import to_thread
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from advcam.studio.answers import PictureAnswer, PictureList, Problem, RunAnswer
from advcam.studio.binaries import encode_maps, encode_mask
from advcam.studio.describing import describe_list, describe_picture, describe_run
from advcam.studio.listing import Order, Shown, Wanted
from advcam.studio.pictures import mask_of
from advcam.studio.studio import Studio

Place = Annotated[int, Path(ge=0, description="place of a picture in the run, from 0")]
Side = Annotated[int, Query(ge=16, le=4096, description="pixels of the longer side, at most")]
Responses: TypeAlias = dict[int | str, dict[str, Any]]
_GONE: Responses = {404: {"model": Problem, "description": "There is none."}}
_BYTES: Responses = {
    200: {
        "content": {"application/octet-stream": {}},
        "description": "uint32 length of a header, the header in JSON, numbers",
    }
}
_JPEG: Responses = {200: {"content": {"image/jpeg": {}}}, 304: {"description": "As the ETag of the request says."}}
#: Sets of masks beside those of the run.
_FURTHER = ("final", "corrected", "truth")


def looking(studio: Studio) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["looking"], responses=_GONE)

    @router.get("/run", summary="The run: what it is, its classes, how far people are with it")
    def run() -> RunAnswer:
        return describe_run(studio)

    @router.get("/pictures", summary="Pictures, the most doubtful first")
    def pictures(
        sort: Order = "doubt",
        class_: Annotated[int | None, Query(alias="class", description="number of a class in masks")] = None,
        status: Shown | None = None,
        vanished: Annotated[bool, Query(description="only where a class of the label has no pixel")] = False,
        text: Annotated[str, Query(max_length=200, description="part of the id")] = "",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 60,
    ) -> PictureList:
        return describe_list(studio, Wanted(sort, class_, status, vanished, text), offset, limit)

    @router.get("/pictures/{n}", summary="One picture with all that is known of it")
    def picture(n: Place) -> PictureAnswer:
        return describe_picture(studio, n)

    _add_bytes(router, studio)
    return router


def _add_bytes(router: APIRouter, studio: Studio) -> None:
    """Routes whose answers are no JSON."""

    @router.get("/pictures/{n}/image", summary="The picture as JPEG", response_class=Response, responses=_JPEG)
    async def image(n: Place, request: Request, side: Side = 1400) -> Response:
        id_ = studio.id_of(n)
        return await jpeg_answer(studio, request, lambda: studio.renderer.picture(studio.album, id_, side))

    @router.get(
        "/pictures/{n}/thumbnail", summary="A small picture with a mask", response_class=Response, responses=_JPEG
    )
    async def thumbnail(n: Place, request: Request, mask: str = "final") -> Response:
        id_ = studio.id_of(n)
        if mask != "none":
            _check_set(studio, mask)
        return await jpeg_answer(studio, request, lambda: studio.renderer.thumbnail(studio.album, id_, mask))

    @router.get(
        "/pictures/{n}/maps/{stage}", summary="Maps of a stage", response_class=Response, responses=_GONE | _BYTES
    )
    def maps(n: Place, stage: str) -> Response:
        album, id_ = studio.album, studio.id_of(n)
        row = album.maps(stage, id_)
        if row is None:
            raise HTTPException(404, f"the stage {stage!r} has no maps of {id_}")
        numbers = [album.number_of(class_id) for class_id in row.attribution.class_ids]
        return bytes_answer(encode_maps(numbers, row.attribution, row.step_scores))

    @router.get(
        "/pictures/{n}/masks/{set_}", summary="A mask: of a set of the run, final, corrected or truth",
        response_class=Response, responses=_GONE | _BYTES,
    )  # fmt: skip
    def masks(n: Place, set_: str, request: Request) -> Response:
        id_ = studio.id_of(n)
        _check_set(studio, set_)
        mask = mask_of(studio.album, set_, id_)
        if mask is None:
            raise HTTPException(404, f"there is no mask {set_!r} of {id_}")
        return bytes_answer(encode_mask(mask), "gzip" in request.headers.get("accept-encoding", ""))


def _check_set(studio: Studio, set_: str) -> None:
    known = (*_FURTHER, *studio.album.sets)
    if set_ not in known:
        raise HTTPException(404, f"there are no masks {set_!r}; there are {', '.join(known)}")


async def jpeg_answer(
    studio: Studio, request: Request, find: Callable[[], tuple[str, Callable[[], bytes]]]
) -> Response:
    """A JPEG with its ETag, made as far as it is needed, beside as many others as there are cores.

    Args:
        studio: Whose cores.
        request: May say which ETag it has already.
        find: Gives the ETag and what makes the JPEG.
    """
    key, make = await to_thread.run_sync(find)
    headers = {"ETag": f'"{key}"', "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match", "") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(await to_thread.run_sync(make, limiter=studio.heavy), media_type="image/jpeg", headers=headers)


def bytes_answer(content: bytes, packed: bool = False) -> Response:
    """Numbers for the page, packed where they are mostly equal and the page can unpack them."""
    headers = {"Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
    if packed:
        content, headers["Content-Encoding"] = gzip.compress(content, 1, mtime=0), "gzip"
    return Response(content, media_type="application/octet-stream", headers=headers)
