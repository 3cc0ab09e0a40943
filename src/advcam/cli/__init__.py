"""The command line: `app` the commands | `watch` progress for people | `doctor` what is installed | `memory` limits."""

import sys


def main() -> None:
    """Entry point of `advcam`: errors of ours are one line, exit code 2; an interrupt is 130."""
    from advcam.cli.app import run
    from advcam.cli.memory import stay_within_available

    if not any("cuda" in argument for argument in sys.argv):  # a driver reserves addresses that are no memory
        stay_within_available()
    sys.exit(run(sys.argv[1:]))
