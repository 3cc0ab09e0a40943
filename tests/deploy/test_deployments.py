"""The container and the examples for clusters: what can be checked where there is no container, Slurm or Kubernetes."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclopts import CycloptsError, MissingArgumentError

from advcam.cli.app import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SCRIPTS = sorted(DEPLOY.rglob("*.sbatch"))
MANIFESTS = sorted(DEPLOY.rglob("*.yaml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()))


def values(node: object) -> Iterator[str]:
    """Every text in a tree of YAML."""
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from values(item)
    elif isinstance(node, str):
        yield node


def blocks(markdown: str) -> Iterator[str]:
    for match in re.finditer(r"^( *)```\w*\n(.*?)^\1```", markdown, re.MULTILINE | re.DOTALL):
        yield match[2]


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each advcam in lines of a shell, up to a pipe or the like."""
    for line in re.sub(r"\\\n[ #]*", " ", text).splitlines():
        if "docker run" in line:  # in a comment, as a rule
            line = line.lstrip("# ")
        if line.lstrip().startswith("#"):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # no line of a shell
            continue
        if words[:2] == ["bash", "-c"]:
            yield from commands(words[2])
        for place, word in enumerate(words):
            container = words[:2] == ["docker", "run"]
            if word == "advcam" and (place == 0 or words[place - 1] == "-m" or container):
                rest = words[place + 1 :]
                yield rest[: next((n for n, one in enumerate(rest) if one[0] in "|&;"), len(rest))]


def found() -> list[tuple[str, list[str]]]:
    texts = [(path, block) for path in PAGES for block in blocks(path.read_text())]
    texts += [(path, path.read_text()) for path in (*SCRIPTS, ROOT / "Containerfile")]
    texts += [(path, "\n".join(values(documents(path.name)))) for path in MANIFESTS]
    return [(path.relative_to(ROOT).as_posix(), command) for path, text in texts for command in commands(text)]


COMMANDS = found()


def test_commands_are_found_everywhere():
    """Else the next test could not fail."""
    pages = {page for page, _ in COMMANDS}
    assert {"README.md", "Containerfile", "docs/howto/cluster.md", "docs/howto/predict.md"} <= pages
    assert {path.relative_to(ROOT).as_posix() for path in (*SCRIPTS, *MANIFESTS)} <= pages
    assert list(commands("torchrun -n 2 \\\n   -m advcam run x \\\n  --out y &\npip install advcam")) == [
        ["run", "x", "--out", "y"]
    ]
    assert list(commands('advcam doctor || [ $? -eq 1 ]\nhe said "advcam')) == [["doctor"]]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}:{' '.join(c)[:40]}" for page, c in COMMANDS])
def test_every_command_is_one_that_advcam_understands(page: str, command: list[str]):
    try:
        app.parse_args(command, exit_on_error=False, print_error=False)
    except MissingArgumentError:
        assert "..." in command  # the page leaves out what it has said before
    except CycloptsError as error:
        pytest.fail(f"{page}: advcam {' '.join(command)}: {error}")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(script: Path):
    subprocess.run(["bash", "-n", script], check=True)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    directives = [line for line in lines if line.startswith("#SBATCH")]
    first_command = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    assert directives
    assert all(lines.index(line) < first_command for line in directives)  # sbatch reads no further
    assert "#SBATCH --requeue" in directives


def run_script(name: str, folder: Path, run: str, told: bool) -> tuple[int, list[str]]:
    """A batch script among stand-ins for Slurm, Ray and advcam; its exit code and what they were called with."""
    calls, tools = folder / "calls", folder / "bin"
    tools.mkdir()
    (tools / "activate").touch()
    stand_ins = {
        "srun": f'echo "srun $*" >> {calls}; case "$*" in *torchrun*) exec fake-run;; *) sleep 60 & wait;; esac',
        "advcam": f'echo "advcam $*" >> {calls}; exec fake-run',
        "scontrol": f'echo "scontrol $*" >> {calls}; [ "$1" = show ] && echo first && echo second',
        "ray": "exit 0",
        "fake-run": run,
    }
    for tool, body in stand_ins.items():
        (tools / tool).write_text(f"#!/bin/bash\n{body}\n")
        (tools / tool).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "4"}
    environment = slurm | {"PATH": f"{tools}:/usr/bin:/bin", "ENVIRONMENT": str(folder), "HOME": str(folder)}
    process = subprocess.Popen(["bash", DEPLOY / "slurm" / name], env=environment, stdout=subprocess.PIPE)
    if told:
        assert process.stdout is not None
        process.stdout.readline()  # the run is ready to be told
        process.terminate()
    code = process.wait(30)
    return code, calls.read_text().splitlines()


TOLD = 'trap "kill %1; exit {code}" TERM; sleep 60 & echo ready; wait'


@pytest.mark.parametrize(("name", "code"), [("localize.sbatch", 143), ("train.sbatch", 1)])
def test_a_job_that_is_told_to_end_ends_its_run_and_goes_back_to_the_queue(tmp_path: Path, name: str, code: int):
    ended, calls = run_script(name, tmp_path, TOLD.format(code=code), told=True)
    assert ended == code
    assert calls[-1] == "scontrol requeue 7"


@pytest.mark.parametrize("name", ["localize.sbatch", "train.sbatch"])
@pytest.mark.parametrize("code", [0, 2])
def test_a_job_that_ends_by_itself_keeps_its_exit_code(tmp_path: Path, name: str, code: int):
    ended, calls = run_script(name, tmp_path, f"exit {code}", told=False)
    assert ended == code
    assert not any("requeue" in call for call in calls)


def test_a_run_that_is_done_when_it_is_told_to_end_is_not_queued_again(tmp_path: Path):
    ended, calls = run_script("localize.sbatch", tmp_path, TOLD.format(code=0), told=True)
    assert ended == 0
    assert not any("requeue" in call for call in calls)


def test_the_ray_job_has_what_its_definition_demands():
    """The required fields of ray.io/v1 RayJob and RayCluster, by the API reference of KubeRay."""
    (job,) = documents("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["metadata"]["name"]
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] >= 60
        (container,) = pod["containers"]
        assert container["image"] == groups[0]["template"]["spec"]["containers"][0]["image"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["limits"]["memory"]
        assert pod["securityContext"]["runAsNonRoot"] is True
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["groupName"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert f"--workers {workers['maxReplicas']} " in job["spec"]["entrypoint"]
    assert cluster["enableInTreeAutoscaling"] is True


@pytest.mark.parametrize(("code", "ended"), [(0, 0), (1, 0), (2, 1), (143, 1)])
def test_skipped_pictures_do_not_fail_the_ray_job(tmp_path: Path, code: int, ended: int):
    """The way of the entrypoint: a shell submits its words, Ray joins them again and gives them to another shell."""
    (job,) = documents("rayjob.yaml")
    advcam = tmp_path / "advcam"
    advcam.write_text(f'#!/bin/bash\necho "$*" > {tmp_path}/called\nexit {code}\n')
    advcam.chmod(0o755)
    submit = [sys.executable, "-c", "import subprocess, sys; print(subprocess.list2cmdline(sys.argv[1:]))"]
    submitter = f"{shlex.join(submit)} {job['spec']['entrypoint']} ;"
    joined = subprocess.run(["bash", "-c", submitter], capture_output=True, text=True, check=True).stdout
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    found = subprocess.run(joined, shell=True, executable="/bin/bash", env=environment, check=False)
    assert found.returncode == ended
    assert (tmp_path / "called").read_text().endswith("--workers 16 --quiet\n")


def test_nobody_outside_reaches_the_ray_cluster():
    (job,) = documents("rayjob.yaml")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["authOptions"] == {"mode": "token"}
    assert "RAY_AUTH_MODE=token" in (DEPLOY / "slurm" / "localize.sbatch").read_text()
    for path in (*SCRIPTS, *MANIFESTS):
        assert "0.0.0.0" not in path.read_text()


def test_the_pods_of_the_training_find_each_other():
    service, job = documents("train-job.yaml")
    name, spec = job["metadata"]["name"], job["spec"]
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", spec["parallelism"])
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert (service["spec"]["clusterIP"], service["spec"]["selector"]) == ("None", {"job-name": name})
    (container,) = spec["template"]["spec"]["containers"]
    (line,) = container["args"]
    assert f"--nnodes {spec['completions']} " in line
    assert f"--nproc-per-node {container['resources']['limits']['nvidia.com/gpu']} " in line
    assert f"--rdzv-endpoint {name}-0.{service['metadata']['name']}:" in line


def instructions(containerfile: str) -> list[tuple[str, str]]:
    lines = [line for line in containerfile.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [tuple(line.split(" ", 1)) for line in joined]  # type: ignore[misc]


def test_the_container_copies_what_there_is_and_what_the_builder_gets():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignored[0] == "*"
    sent = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = [
        path
        for name, rest in instructions((ROOT / "Containerfile").read_text())
        if name == "COPY"
        for path in rest.split()[:-1]
    ]
    assert sorted(copied) == sorted(sent)
    assert all((ROOT / path).exists() for path in copied)
    assert not any(fnmatch(path, pattern) for path in copied for pattern in ignored[1:] if pattern[0] != "!")


def test_the_container_copies_what_the_build_of_the_package_reads():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    read = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    read |= {Path(path).parts[0] for path in (*wheel["packages"], *wheel["force-include"])}
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert read <= sent


def test_the_container_runs_advcam_as_nobody_special_with_extras_that_exist():
    found = instructions((ROOT / "Containerfile").read_text())
    last = dict(found)
    assert last["ENTRYPOINT"] == '["advcam"]'
    assert last["HEALTHCHECK"] == "NONE"
    assert last["USER"] == "1000"
    (install,) = [rest for name, rest in found if name == "RUN" and "pip install" in rest]
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', install)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()


def test_every_node_has_the_same_ray():
    (version,) = re.findall(r"^ARG RAY=(\S+)$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    (job,) = documents("rayjob.yaml")
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version
