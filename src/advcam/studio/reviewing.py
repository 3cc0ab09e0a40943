"""Routes for mending: a verdict on a picture, and masks that were drawn anew."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, HTTPException, Query, Request

from advcam.store.corrections import Review
from advcam.studio.answers import Conflict, Problem, ReviewAnswer, StatusAsked
from advcam.studio.binaries import decode_mask, most_bytes_of_a_mask, unzipped
from advcam.studio.looking import Place, Responses
from advcam.studio.pictures import seen_size
from advcam.studio.studio import Studio
from advcam.types import IGNORE, Mask

Revision = Annotated[int, Query(ge=0, description="of the picture when the page looked at it")]
_REFUSED: Responses = {
    403: {"model": Problem, "description": "The run cannot be written to."},
    404: {"model": Problem, "description": "There is no such picture."},
    409: {"model": Conflict, "description": "Somebody else changed the picture since; nothing was overwritten."},
    422: {"model": Problem, "description": "That is no mask of this picture."},
}
_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {}}}}


def reviewing(studio: Studio) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["mending"], responses=_REFUSED)

    @router.put("/pictures/{n}/status", summary="Accept or reject a picture, or open it again")
    def status(n: Place, asked: StatusAsked) -> ReviewAnswer:
        return _noted(studio, n, studio.album.corrections.set_status(studio.id_of(n), asked.status, asked.revision))

    @router.put("/pictures/{n}/mask", summary="Save a mask that was drawn anew", openapi_extra=_BODY)
    async def save(n: Place, revision: Revision, request: Request) -> ReviewAnswer:
        id_, packed = studio.id_of(n), request.headers.get("content-encoding") == "gzip"
        width, height = await to_thread.run_sync(lambda: seen_size(studio.album.sample(id_).path))
        content = await _body(request, most_bytes_of_a_mask((height, width)))

        def work() -> ReviewAnswer:
            mask = _decoded(studio, content, packed, (height, width))
            corrections, name = studio.album.corrections, studio.album.names[id_]
            return _noted(studio, n, corrections.save_mask(id_, name, mask, revision))

        return await to_thread.run_sync(work, limiter=studio.heavy)

    @router.delete("/pictures/{n}/mask", summary="Go back to the mask of the run")
    def discard(n: Place, revision: Revision) -> ReviewAnswer:
        return _noted(studio, n, studio.album.corrections.discard_mask(studio.id_of(n), revision))

    return router


async def _body(request: Request, most: int) -> bytes:
    """The body of a request, of so many bytes at most."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise HTTPException(413, f"a mask of this picture has {most:,} bytes at most; load the picture again")
    return bytes(content)


def _decoded(studio: Studio, content: bytes, packed: bool, size: tuple[int, int]) -> Mask:
    content = unzipped(content, most_bytes_of_a_mask(size)) if packed else content
    return decode_mask(content, size, frozenset((0, IGNORE, *studio.album.classes)))


def _noted(studio: Studio, place: int, review: Review) -> ReviewAnswer:
    """What was said, once lists know it too."""
    studio.listing.refresh(place)
    return ReviewAnswer(status=review.status, revision=review.revision)
