"""Runs the workflow of the example for releases of a function, with a registry on this machine and a `gh` that keeps
releases in a folder: the first release, the same again, a wider one, and one that the registry does not let in.

    python tests/packages/release.py WORKFLOW FERRITE_WASMC DOCKER_REGISTRY VERSION
"""

import filecmp
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from registry import PASSWORD, USER, Registry
from workflow import Job, Run

GH = """#!/bin/bash
# Stands in for GitHub's command line, with releases as folders in RELEASES.
set -eu
[ "$1 $2" = "release create" ] || { echo "gh $* is not known here" >&2; exit 1; }
[ -n "$GH_TOKEN" ] || { echo "gh: no token" >&2; exit 4; }
[ -d .git ] || { echo "gh: not a git repository" >&2; exit 1; }
tag=$3
shift 3
mkdir "$RELEASES/$tag"
for word; do
    case $word in
    --generate-notes) ;;
    -*) echo "gh: unknown flag: $word" >&2; exit 1 ;;
    *) cp "$word" "$RELEASES/$tag/" ;;
    esac
done
"""

# The runner has Rust; the target for functions is here already, or named by FERRITE_WASM_RUSTC.
RUSTUP = """#!/bin/bash
[ "$*" = "target add wasm32-unknown-unknown" ] || { echo "rustup $* is not known here" >&2; exit 1; }
"""

def fail(text: str) -> None:
    sys.exit(f"FAILED: {text}")


class Stand:
    """The repository, the registry and what stands in for GitHub."""

    def __init__(self, folder: pathlib.Path, workflow: pathlib.Path, wasmc: str, registry: Registry, version: str):
        self.folder = folder
        self.wasmc = wasmc
        self.version = version
        self.runs = 0
        self.repository = folder / "rate"
        self.programs = folder / "programs"
        self.installed = folder / "installed"
        self.artifacts = folder / "artifacts"
        self.releases = folder / "releases"
        self.home = folder / "home"
        for made in [self.programs, self.installed, self.artifacts, self.releases, self.home]:
            made.mkdir()
        for name, text in [("gh", GH), ("rustup", RUSTUP)]:
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o755)
        (self.installed / "ferrite-wasmc").symlink_to(wasmc)
        home = pathlib.Path.home()
        kept = {key: os.environ[key] for key in ["FERRITE_WASM_RUSTC", "RUSTUP_TOOLCHAIN"] if key in os.environ}
        self.environment = kept | {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "CARGO_HOME": os.environ.get("CARGO_HOME", str(home / ".cargo")),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(home / ".rustup")),
            # So that each run does not build the SDK again.
            "CARGO_TARGET_DIR": str(folder / "target"),
            "RELEASES": str(self.releases),
        }
        self.address = registry.address
        # The workflow as it is, but for the place of the registry.
        text = workflow.read_text()
        if text.count("ghcr.io/") != 1:
            fail(f"{workflow} names ghcr.io {text.count('ghcr.io/')} times, not once")
        self.workflow = folder / "release.yml"
        self.workflow.write_text(text.replace("ghcr.io/", f"{self.address}/"))

    def run_wasmc(self, *arguments: str, password: str = "") -> str:
        done = subprocess.run(
            [self.wasmc, *arguments],
            env=self.environment
            | {
                "FERRITE_KEY_PASSWORD": password,
                "FERRITE_REGISTRY_USER": USER,
                "FERRITE_REGISTRY_PASSWORD": PASSWORD,
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            fail(f"ferrite-wasmc {arguments}: {done.stderr}")
        return done.stdout

    def git(self, *arguments: str) -> None:
        author = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *author, *arguments], cwd=self.repository, env=self.environment, check=True)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    # The actions that the workflow uses.

    def check_out(self, job: Job, inputs: dict) -> None:
        subprocess.run(["git", "clone", "--quiet", self.repository, job.checkout], env=self.environment, check=True)

    def set_up(self, job: Job, inputs: dict) -> None:
        if inputs != {"version": self.version}:
            fail(f"the workflow installs {inputs}, and this is {self.version}")
        job.path.append(str(self.installed))

    def upload(self, job: Job, inputs: dict) -> None:
        shutil.copy(job.checkout / inputs["path"], self.artifacts / inputs["name"])
        (self.artifacts / f"{inputs['name']}.path").write_text(pathlib.Path(inputs["path"]).name)

    def download(self, job: Job, inputs: dict) -> None:
        name = (self.artifacts / f"{inputs['name']}.path").read_text()
        shutil.copy(self.artifacts / inputs["name"], job.checkout / name)

    def release(self, tag: str, approved: bool = False, password: str = PASSWORD) -> Run:
        """Pushes a tag, and lets the workflow run."""
        self.runs += 1
        for left in self.artifacts.iterdir():
            left.unlink()
        run = Run(
            self.workflow,
            self.folder / f"run-{self.runs}",
            {
                "ref_name": tag,
                "run_number": str(self.runs),
                "repository_owner": "team",
                "actor": USER,
            },
            {
                "actions/checkout": self.check_out,
                "ferrite-wasm/ferrite-wasm/.github/actions/setup-ferrite": self.set_up,
                "actions/upload-artifact": self.upload,
                "actions/download-artifact": self.download,
            },
            {
                None: {"GITHUB_TOKEN": password},
                "release": {"FERRITE_KEY": (self.folder / "ci.key").read_text(), "FERRITE_KEY_PASSWORD": "of the key"},
            },
            {"release", "wider"} if approved else {"release"},
            self.environment,
        )
        run.run()
        print(f"{tag}: {run.results}")
        return run

    def expect(self, run: Run, build: str, approve: str, publish: str) -> None:
        expected = {"build": build, "approve": approve, "publish": publish}
        if run.results != expected:
            fail(f"{run.results} and not {expected}:\n" + "\n".join(run.logs.values()))
        if leaked := [name for name, log in run.logs.items() if PASSWORD in log or "of the key" in log]:
            fail(f"a password is in the log of {leaked}")

    def latest(self) -> str:
        """The version and the sequence that the registry has as the latest."""
        said = self.run_wasmc(
            "pull", f"{self.address}/team/rate:latest", "--key", "ci.pub", "-o", str(self.folder / "latest.tar")
        )
        return re.search(r"is (rate \S+, sequence \d+)", said).group(1)

    def expect_released(self, version: str, sequence: int) -> None:
        if self.latest() != f"rate {version}, sequence {sequence}":
            fail(f"the latest release is {self.latest()}, and not {version} of run {sequence}")
        attached = self.releases / f"v{version}" / f"rate-{version}.cwasm.tar"
        if not filecmp.cmp(attached, self.folder / "latest.tar", shallow=False):
            fail(f"{attached} is not what the registry has")
        self.run_wasmc("pull", f"{self.address}/team/rate:{version}", "--key", "ci.pub", "-o", "tagged.tar")


def was_first(run: Run) -> bool:
    # As a line: the step's script has these words, too.
    return "\nthe first release\n" in run.logs["build"]


def play(stand: Stand) -> None:
    stand.run_wasmc("new", "rate", "--lang", "rust")
    stand.run_wasmc("keygen", "-o", "ci", password="of the key")
    shutil.copy(stand.folder / "ci.pub", stand.repository / "ci.pub")
    stand.git("init", "--quiet")
    stand.commit("A function")

    run = stand.release("v1.0.0")
    stand.expect(run, "success", "skipped", "success")
    if not was_first(run):
        fail(f"it compares with something: {run.logs['build']}")
    stand.expect_released("1.0.0", 1)

    run = stand.release("v1.0.1")
    stand.expect(run, "success", "skipped", "success")
    if was_first(run):
        fail(f"the last release is not found: {run.logs['build']}")
    stand.expect_released("1.0.1", 2)

    # A function that may touch more keys goes nowhere until a person lets it.
    settings = stand.repository / "ferrite.project.toml"
    narrow = settings.read_text()
    wide = narrow.replace('allowed_keys = ["api:*"]', 'allowed_keys = ["api:*", "user:*"]')
    if wide == narrow:
        fail(f"a new project has other permissions than this test widens: {narrow}")
    settings.write_text(wide)
    stand.commit("Limit users, too")
    run = stand.release("v1.1.0")
    stand.expect(run, "success", "failure", "skipped")
    if "user:*" not in run.summary:
        fail(f"the summary does not show what is wider: {run.summary!r}")
    stand.expect_released("1.0.1", 2)
    if (stand.releases / "v1.1.0").exists():
        fail("what nobody approved is released")
    run = stand.release("v1.1.1", approved=True)
    stand.expect(run, "success", "success", "success")
    stand.expect_released("1.1.1", 4)

    # A failure to ask the registry is not taken for the first release.
    run = stand.release("v1.1.2", password="another")
    stand.expect(run, "failure", "skipped", "skipped")
    stand.expect_released("1.1.1", 4)


def main() -> None:
    workflow, wasmc, program, version = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with Registry(program, folder) as registry:
            play(Stand(folder, pathlib.Path(workflow), str(pathlib.Path(wasmc).resolve()), registry, version))
    print("the workflow for functions releases what is new, and asks before what is wider")


main()
