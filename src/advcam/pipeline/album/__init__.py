"""What lies in a run, for people to look at: pictures, maps, masks, truth and what was said of them.

Everything is read when it is asked for and may be missing: a run can be read while it is being written, or when half
of it is gone. Nothing but corrections is ever written.
"""

from advcam.pipeline.album.album import Album
from advcam.pipeline.album.opening import open_album

__all__ = ["Album", "open_album"]
