"""What a page asks for that is not there."""

from advcam.errors import AdvcamError


class MissingError(AdvcamError, LookupError):
    """There is no such picture, drop or job, or not any more."""
