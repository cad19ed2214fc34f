"""Runs the job of the release workflow that packs and pushes the chart, with a registry on this machine, and pulls the
chart from there.

    python tests/packages/chart_release.py WORKFLOW CHART HELM DOCKER_REGISTRY
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml
from registry import PASSWORD, USER, Registry
from workflow import Job, Run

# Helm wants TLS of every registry unless it is told otherwise.
WRAPPER = """#!/bin/bash
case $1 in
registry | push) exec "$HELM" "$@" --plain-http ;;
*) exec "$HELM" "$@" ;;
esac
"""

VERSION = "9.8.7"


def fail(text: str) -> None:
    sys.exit(f"FAILED: {text}")


def play(workflow: pathlib.Path, chart: pathlib.Path, helm: str, registry: Registry, folder: pathlib.Path) -> None:
    programs = folder / "programs"
    programs.mkdir()
    (programs / "helm").write_text(WRAPPER)
    (programs / "helm").chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
        "HELM": helm,
        "GITHUB_ACTOR": USER,
    }
    local = folder / "release.yml"
    local.write_text(workflow.read_text().replace("ghcr.io", registry.address))
    attested = []
    kept = []

    def check_out(job: Job, _: dict) -> None:
        shutil.copytree(chart, job.checkout / "packaging/helm/ferrite")

    run = Run(
        local,
        folder / "run",
        {"ref_name": f"v{VERSION}", "run_number": "1", "repository_owner": "team"},
        {
            "actions/checkout": check_out,
            "actions/attest": lambda _, inputs: attested.append((inputs["subject-name"], inputs["subject-digest"])),
            "actions/upload-artifact": lambda job, inputs: kept.extend((job.checkout / inputs["path"]).iterdir()),
        },
        {None: {"GITHUB_TOKEN": PASSWORD}},
        set(),
        environment,
    )
    if run.run(only={"chart"})["chart"] != "success":
        fail(run.logs["chart"])
    name = f"{registry.address}/team/charts/ferrite"
    done = subprocess.run(
        [helm, "pull", "--plain-http", f"oci://{name}", "--version", VERSION, "--destination", folder],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        fail(done.stderr)
    [(subject, digest)] = attested
    if subject != name or digest not in done.stdout + done.stderr:
        fail(f"{subject} with {digest} is attested, and {done.stdout}{done.stderr}")
    pulled = folder / f"ferrite-{VERSION}.tgz"
    if [file.read_bytes() for file in kept] != [pulled.read_bytes()]:
        fail(f"the chart that goes to the release, {kept}, is another one")
    command = [helm, "template", "release", pulled, "--set", "auth.password=x"]
    objects = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    [pod] = [it for it in yaml.safe_load_all(objects) if it and it["kind"] == "StatefulSet"]
    image = pod["spec"]["template"]["spec"]["containers"][0]["image"]
    if not image.endswith(f"/ferrite-server:{VERSION}"):
        fail(f"the chart of {VERSION} runs {image}")


def main() -> None:
    workflow, chart, helm, program = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with Registry(program, folder) as registry:
            play(pathlib.Path(workflow), pathlib.Path(chart), str(pathlib.Path(helm).resolve()), registry, folder)
    print("the release workflow pushes a chart that runs the image of its release")


main()
