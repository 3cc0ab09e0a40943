"""Keep the memory that a pass frees for the next one: on Linux a quarter of a climb's time on the CPU.

A pass allocates and frees hundreds of megabytes. By default the C library gives blocks of that size back to the system
at once, which has to clear every page again when the next layer asks for it. The process of the command line is ours,
so it keeps them; what is best for somebody else's process is not a library's business.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_PAD = 64 << 20  # bytes by which the heap grows at a time


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed; whether it could be told (glibc only)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wishes = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _PAD))
    return all(bool(mallopt(name, value)) for name, value in wishes)
