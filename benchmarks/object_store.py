"""A localization into an object store that is healthy, fails or is slow, against the same one into a folder.

    python benchmarks/object_store.py                                  three photographs
    python benchmarks/object_store.py --pictures FOLDER --labels CSV   yours
    python benchmarks/object_store.py --cases flaky --share 0.3        every third request fails

The store is moto's S3 on this machine, in another process than the run, behind a front that spoils requests: in
case "flaky" a share of them (10 %) is answered by 500 or 503, or cut off before or after it was done; in case "slow"
each takes 100 ms longer, and one of fifty 20 s, which is more than a request may take; in case "killed" a process is
killed as soon as a mask is there. Then `advcam localize` runs twice, each time in a process of its own; the second one
finds everything done. Prints one JSON object, and each case on standard error as soon as it is done: seconds of both
runs, the requests of both, and of the first the failures and the retries. `differ` names the masks, overlays, boxes,
class numbers and maps that are not byte by byte those of a run into a folder.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from advcam.pipeline.demo import write_photographs

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "store"))
from fake_s3 import FakeS3  # type: ignore[import-not-found]

BUCKET = "runs"
CASES = ("healthy", "flaky", "slow", "killed")
_RESULTS = ("masks/", "overlays/", "maps/", "boxes.json", "classes.json", "config.json")  # the others name the session
_RUN = (
    "import sys; from advcam.cli.app import run; from advcam.store.retries import retries_so_far; "
    "code = run(sys.argv[1:]); print(retries_so_far()); sys.exit(code)"
)


def command_of(arguments: list[str], out: str) -> list[str]:
    """`advcam localize`, which tells its retries at the end."""
    return [sys.executable, "-c", _RUN, "localize", *arguments, "--out", out, "--quiet"]


def localize(arguments: list[str], out: str, environment: dict[str, str]) -> dict[str, Any]:
    """One run in a process of its own: its seconds and retries."""
    started = time.monotonic()
    done = subprocess.run(
        command_of(arguments, out), capture_output=True, text=True, check=False, env=os.environ | environment
    )
    if done.returncode:
        raise SystemExit(f"{out}: exit code {done.returncode}\n{done.stderr}")
    return {"seconds": round(time.monotonic() - started, 1), "retries": int(done.stdout.split()[-1])}


def kill(arguments: list[str], out: str, store: FakeS3) -> None:
    """A run that is killed as soon as a mask is there."""
    process = subprocess.Popen(
        command_of(arguments, out), stdout=subprocess.DEVNULL, env=os.environ | store.environment
    )
    prefix = f"{out.rpartition('/')[2]}/masks/"
    while process.poll() is None and not store.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)["KeyCount"]:
        time.sleep(0.1)
    process.kill()
    if process.wait() == 0:
        raise SystemExit(f"{out}: the run was over before it was killed")


def in_folder(folder: Path) -> dict[str, bytes]:
    """What a run left in a folder, by key."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def stored(store: FakeS3, case: str) -> dict[str, bytes]:
    """What a run left in the store, by key."""
    store.share = store.delay = store.stalled = 0.0
    return {
        key.removeprefix(f"{case}/"): content
        for key, content in store.objects(BUCKET).items()
        if key.startswith(f"{case}/")
    }


def run_case(case: str, arguments: list[str], spoilt: dict[str, float], local: dict[str, bytes]) -> dict[str, Any]:
    """A run into a store, and the same command again."""
    with FakeS3(**spoilt) as store:
        store.client().create_bucket(Bucket=BUCKET)
        if case == "killed":
            kill(arguments, f"s3://{BUCKET}/{case}", store)
        store.requests = store.failures = 0
        first = localize(arguments, f"s3://{BUCKET}/{case}", store.environment)
        counts = {"requests": store.requests, "failures": store.failures}
        store.requests = 0
        again = localize(arguments, f"s3://{BUCKET}/{case}", store.environment)
        requests_again, found = store.requests, stored(store, case)
    results = [key for key in local.keys() | found.keys() if key.startswith(_RESULTS)]
    differ = sorted(key for key in results if local.get(key) != found.get(key))
    return {**first, **counts, "seconds_again": again["seconds"], "requests_again": requests_again, "differ": differ}


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="a folder (three photographs)")
    parser.add_argument("--labels", help="as of advcam localize")
    parser.add_argument(
        "--cases", nargs="+", choices=("healthy", "flaky", "slow"), default=("healthy", "flaky", "slow")
    )
    parser.add_argument("--share", type=float, default=0.1, help="of the requests that fail in the case flaky")
    parser.add_argument("--seed", type=int, default=0)
    options, more = parser.parse_known_args()
    spoilt: dict[str, dict[str, float]] = {
        "healthy": {},
        "flaky": {"share": options.share, "seed": options.seed},
        "slow": {"delay": 0.1, "stalled": 0.02, "stall": 20.0, "seed": options.seed},
        "killed": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        pictures, labels = options.pictures, options.labels
        if pictures is None:
            pictures = Path(folder, "photographs")
            labels = str(write_photographs(pictures))
        arguments = [str(pictures), "--labels", labels, *(more or ["--effort", "fast"])]
        result: dict[str, Any] = {
            "machine": platform.processor() or platform.machine(),
            "local": localize(arguments, f"{folder}/run", {}),
        }
        result["local"]["seconds_again"] = localize(arguments, f"{folder}/run", {})["seconds"]
        local = in_folder(Path(folder, "run"))
        result["files"] = len(local)
        for case in options.cases:
            result[case] = run_case(case, arguments, spoilt[case], local)
            print(case, json.dumps(result[case]), file=sys.stderr)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
