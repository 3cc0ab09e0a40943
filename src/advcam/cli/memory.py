"""No more memory than there is: an allocation fails, and is understood, before the system kills the process."""

from pathlib import Path

_SHARE = 0.9  # of what is available, the rest is for the others


def stay_within_available() -> bool:
    """Let an allocation fail that the machine has no memory for; whether that could be arranged (Linux only).

    Otherwise the system grants it, and kills the process when it is used: without a word, and with the pictures that
    would have fitted. For networks on the CPU only, since a GPU's driver reserves addresses that are no memory.
    """
    available = _available()
    if available is None:
        return False
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + int(_SHARE * available)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    return True


def _available() -> int | None:
    """Bytes that could be taken without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
