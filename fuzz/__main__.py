"""Fuzz the readers of files from elsewhere with atheris, for minutes or nights.

    python -m fuzz --list
    python -m fuzz coco-json --minutes 5
    python -m fuzz all --minutes 3 --crashes crashes/
    python -m fuzz coco-json --file crashes/coco-json-crash-0123456789

An input that ends in another error than one of advcam, or that takes more than --seconds or --memory, is kept in the
folder of crashes; --file reads such a file again, with the whole traceback. Seconds are those of the clock: on a busy
machine a slow input may be none, which --file tells. Totals go to standard output, a line for
each target. Needs: pip install atheris
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.catalogue import TARGETS


def main() -> int:
    """Exit code: 0, or 1 if a crash was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", help="name of a target, or all")
    parser.add_argument("--list", action="store_true", help="name the targets")
    parser.add_argument("--minutes", type=float, default=5, help="for each target")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer")
    parser.add_argument("--seconds", type=int, default=60, help="of the clock that one input may take")
    parser.add_argument("--memory", type=int, default=4096, help="MiB that the process may take")
    parser.add_argument("--crashes", type=Path, default=Path("fuzz-crashes"), help="where to keep crashes")
    parser.add_argument("--file", type=Path, help="read this file instead, once")
    options = parser.parse_args()
    if options.list or options.target is None:
        print("\n".join(TARGETS))  # noqa: T201, the answer
        return 0
    names = list(TARGETS) if options.target == "all" else [options.target]
    if not set(names) <= TARGETS.keys():
        parser.error(f"there is no target {options.target}; --list names them")
    if options.file:
        accepted = TARGETS[names[0]](options.file.read_bytes())
        print("accepted" if accepted else "refused")  # noqa: T201, the answer
        return 0
    return max([_fuzz(name, options) for name in names])


def _fuzz(name: str, options: argparse.Namespace) -> int:
    """Run one target in a process of its own, since libFuzzer never comes back."""
    options.crashes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="advcam-fuzz-") as scratch:
        corpus = Path(scratch) / "corpus"
        corpus.mkdir()
        for number, content in enumerate(TARGETS[name].corpus):
            (corpus / f"seed-{number}").write_bytes(content)
        limits = [
            f"-max_total_time={round(60 * options.minutes)}",
            f"-timeout={options.seconds}",
            f"-seed={options.seed}",
        ]
        limits += [f"-rss_limit_mb={options.memory}", "-max_len=65536", "-print_final_stats=1"]
        command = [sys.executable, "-m", "fuzz.worker", name, *limits, f"-artifact_prefix={options.crashes}/{name}-"]
        done = subprocess.run(  # noqa: S603, our own worker
            [*command, str(corpus)],
            env=os.environ | {"TMPDIR": scratch},
            capture_output=True,
            text=True,
            errors="replace",
        )
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
        kept = re.findall(r"Test unit written to (\S+)", done.stderr)
        found = f"crash kept in {kept[-1]}" if kept else "no crash" if done.returncode == 0 else "failed"
        inputs = len(list(corpus.iterdir()))
        print(f"{name:20} {int(runs[1]) if runs else 0:>10,} runs {inputs:>6,} inputs kept  {found}", flush=True)  # noqa: T201
        if done.returncode:
            print(done.stderr[-3000:], file=sys.stderr, flush=True)  # noqa: T201
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
