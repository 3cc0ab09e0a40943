"""One run of atheris on one target; started by `python -m fuzz`, which gives it a folder and counts what it prints."""

import random
import sys
import warnings

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(
    include=[
        "advcam.datasets",
        "advcam.export",
        "advcam.pipeline",
        "advcam.store",
        "advcam.studio",
        "advcam.untrusted",
        "yaml",
    ]
):
    from fuzz.catalogue import TARGETS


def main(arguments: list[str]) -> None:
    """Fuzz for ever, or as long as libFuzzer's options say.

    Args:
        arguments: Name of the target, then options and folders of libFuzzer.
    """
    name, *options = arguments
    target = TARGETS[name]
    warnings.simplefilter("ignore")
    for content in target.corpus:
        target(content)  # folders and imports are there before the clock of the first input runs

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)  # noqa: S311, not for secrets
        changed = target.mutate(content, draw) if draw.random() < 0.5 else atheris.Mutate(content, most)
        return bytes(changed[:most])

    atheris.Setup([name, *options], lambda content: target(content) and None, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
