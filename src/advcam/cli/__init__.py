"""The command line: `app` the commands | `watch` progress for people | `doctor` what is installed | `memory` speed."""

import sys


def main() -> None:
    """Entry point of `advcam`: errors of ours are one line, exit code 2; an interrupt is 130."""
    from advcam.cli.app import run
    from advcam.cli.memory import keep_freed_memory

    keep_freed_memory()
    sys.exit(run(sys.argv[1:]))
