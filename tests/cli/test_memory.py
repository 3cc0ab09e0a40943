"""The limit of memory, in a process of its own, since it holds for good."""

import subprocess
import sys
from pathlib import Path

import advcam

SOURCE = str(Path(advcam.__file__).parents[1])


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SOURCE)
    return done.stdout.strip()


def test_an_allocation_beyond_the_memory_fails_and_is_understood():
    code = (
        "import torch\n"
        "from advcam.attribution.batching import is_out_of_memory\n"
        "from advcam.cli.memory import stay_within_available\n"
        "print(stay_within_available())\n"
        "try:\n"
        "    torch.empty(1 << 42, dtype=torch.uint8).fill_(1)\n"
        "except RuntimeError as error:\n"
        "    print(is_out_of_memory(error))\n"
        "print(torch.ones(1_000_000).sum().item())\n"
    )
    assert python(code).splitlines()[-2:] == ["True", "1000000.0"]
