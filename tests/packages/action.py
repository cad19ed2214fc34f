"""Runs the script of the action `setup-ferrite` as a runner would, with a `gh` that takes the release from a folder.

    python tests/packages/action.py ACTION PACKAGES VERSION
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import yaml

GH = """#!/bin/bash
# Stands in for GitHub's command line, with the release in the folder RELEASE.
set -eu
case "$1 $2" in
"release view") echo "v$VERSION" ;;
"release download")
    [ "$3" = "v$VERSION" ] || { echo "release not found" >&2; exit 1; }
    shift 3
    while [ $# -gt 0 ]; do
        case $1 in
        --dir) folder=$2; shift 2 ;;
        --pattern) cp "$RELEASE/$2" "$folder/"; shift 2 ;;
        --repo) shift 2 ;;
        *) shift ;;
        esac
    done ;;
"attestation verify") [ -f "$3" ] && [ "$ATTESTED" = yes ] ;;
*) echo "gh $* is not known here" >&2; exit 1 ;;
esac
"""


def fail(text: str) -> None:
    sys.exit(f"FAILED: {text}")


def main() -> None:
    action, packages, version = sys.argv[1:]
    [step] = yaml.safe_load(pathlib.Path(action).read_text())["runs"]["steps"]
    machine = {"x86_64": "X64", "aarch64": "ARM64"}[os.uname().machine]

    def run(folder: pathlib.Path, **changed: str) -> subprocess.CompletedProcess[str]:
        programs = folder / "programs"
        programs.mkdir()
        (programs / "gh").write_text(GH)
        (programs / "gh").chmod(0o755)
        for file in ["path", "output"]:
            (folder / file).touch()
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "GITHUB_PATH": str(folder / "path"),
            "GITHUB_OUTPUT": str(folder / "output"),
            "RUNNER_TEMP": str(folder),
            "RUNNER_OS": "Linux",
            "RUNNER_ARCH": machine,
            "GH_TOKEN": "none",
            "WANTED": "",
            "REPOSITORY": step["env"]["REPOSITORY"],
            "RELEASE": packages,
            "VERSION": version,
            "ATTESTED": "yes",
        } | changed
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    for changed in [{}, {"WANTED": version}]:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            done = run(folder, **changed)
            if done.returncode:
                fail(f"{changed}: {done.stdout}{done.stderr}")
            if (folder / "output").read_text() != f"version={version}\n":
                fail(f"its output is {(folder / 'output').read_text()!r}")
            program = pathlib.Path((folder / "path").read_text().strip()) / "ferrite-wasmc"
            said = subprocess.run([program, "-V"], capture_output=True, text=True).stdout
            if version not in said:
                fail(f"{program} says {said!r}")
    for changed in [{"ATTESTED": "no"}, {"WANTED": "0.0.9"}, {"RUNNER_OS": "macOS"}]:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            if run(folder, **changed).returncode == 0 or (folder / "path").read_text():
                fail(f"it installs with {changed}")
    print("the action installs what is attested, and nothing else")


main()
