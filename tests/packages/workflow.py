"""Runs the jobs of a workflow file on this machine: their `run` steps as a runner would, and the actions that they use
by functions in place of them.

Expressions are read as far as comparisons, `!`, `&&`, `||`, `success()` and `cancelled()`.
"""

import os
import pathlib
import re
import subprocess
from collections.abc import Callable

import yaml

# The commands with which a runner starts the scripts of Linux, by the name in `shell`.
SHELLS = {
    None: ["bash", "-e"],
    "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"],
}

WORD = re.compile(r"\s*(?:('(?:[^']|'')*')|([A-Za-z_][\w.-]*)|(&&|\|\||==|!=|[!()]))")


class Job:
    """A job that runs: its folder, and what its expressions and steps see."""

    def __init__(self, folder: pathlib.Path, contexts: dict):
        self.folder = folder
        self.contexts = contexts
        self.checkout = folder / "checkout"
        self.path: list[str] = []
        self.log = ""


class Run:
    """One run of a workflow.

    `actions` maps an action's name, without its version, to a function of the job and the inputs. `secrets` maps the
    name of an environment, or None for every job, to secrets. `approved` has the environments that people let through.
    """

    def __init__(
        self,
        workflow: pathlib.Path,
        folder: pathlib.Path,
        github: dict,
        actions: dict[str, Callable[[Job, dict], None]],
        secrets: dict[str | None, dict[str, str]],
        approved: set[str],
        environment: dict[str, str],
    ):
        self.workflow = yaml.safe_load(workflow.read_text())
        self.folder = folder
        self.github = github
        self.actions = actions
        self.secrets = secrets
        self.approved = approved
        self.environment = environment
        self.results: dict[str, str] = {}
        self.outputs: dict[str, dict[str, str]] = {}
        self.logs: dict[str, str] = {}
        self.summary = ""

    def run(self, only: set[str] | None = None) -> dict[str, str]:
        """Runs every job after those that it needs, or only these; returns how each ended."""
        waiting = dict(self.workflow["jobs"])
        if only:
            # What they need counts as done, without outputs.
            for name in waiting.keys() - only:
                del waiting[name]
                self.results[name], self.outputs[name] = "success", {}
        while waiting:
            name = next(name for name, job in waiting.items() if not set(needs(job)) & waiting.keys())
            self.results[name] = self.job(name, waiting.pop(name))
        return self.results

    def job(self, name: str, job: dict) -> str:
        self.outputs[name] = {}
        self.logs[name] = ""
        needed = {it: {"result": self.results[it], "outputs": self.outputs[it]} for it in needs(job)}
        contexts = {"github": self.github, "needs": needed, "steps": {}}
        all_well = all(it["result"] == "success" for it in needed.values())
        condition = str(job.get("if", "success()"))
        # A condition that asks for no status is only looked at where all went well.
        if not re.search(r"\b(success|cancelled|always|failure)\(\)", condition) and not all_well:
            return "skipped"
        if not Expression(inner(condition), contexts, all_well).truth():
            return "skipped"
        place = job.get("environment")
        if place and place not in self.approved:
            return "failure"
        contexts["secrets"] = self.secrets[None] | self.secrets.get(place, {})
        contexts["env"] = {key: fill(value, contexts) for key, value in self.workflow.get("env", {}).items()}
        ran = Job(self.folder / name, contexts)
        ran.checkout.mkdir(parents=True)
        ended = "success"
        for number, step in enumerate(job["steps"]):
            if not self.step(ran, number, step):
                ended = "failure"
                break
        self.logs[name] = ran.log
        self.outputs[name] = {key: fill(value, contexts) for key, value in job.get("outputs", {}).items()}
        return ended

    def step(self, job: Job, number: int, step: dict) -> bool:
        if "uses" in step:
            action = step["uses"].split("@")[0]
            inputs = {key: fill(str(value), job.contexts) for key, value in step.get("with", {}).items()}
            self.actions[action](job, inputs)
            return True
        script = job.folder / f"{number}.sh"
        script.write_text(fill(step["run"], job.contexts))
        outputs, summary = job.folder / f"{number}.outputs", job.folder / f"{number}.summary"
        for file in [outputs, summary]:
            file.touch()
        temporary = job.folder / "temporary"
        temporary.mkdir(exist_ok=True)
        given = {key: fill(str(value), job.contexts) for key, value in step.get("env", {}).items()}
        environment = self.environment | {
            "PATH": os.pathsep.join([*reversed(job.path), self.environment["PATH"]]),
            "GITHUB_OUTPUT": str(outputs),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_REF_NAME": self.github["ref_name"],
            "GITHUB_RUN_NUMBER": self.github["run_number"],
            "RUNNER_TEMP": str(temporary),
        }
        done = subprocess.run(
            [*SHELLS[step.get("shell")], str(script)],
            env=environment | job.contexts["env"] | given,
            cwd=job.checkout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        job.log += f"$ {step['run'].strip()}\n{done.stdout}exit code {done.returncode}\n"
        self.summary += summary.read_text()
        if "id" in step:
            said = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
            job.contexts["steps"][step["id"]] = {"outputs": said}
        return done.returncode == 0


class Expression:
    """What stands between `${{` and `}}`."""

    def __init__(self, text: str, contexts: dict, all_well: bool = True):
        self.text = text
        self.words = []
        at = 0
        while text[at:].strip():
            found = WORD.match(text, at)
            if not found:
                raise ValueError(f"{text!r} is not understood from {text[at:]!r} on")
            self.words.append(found.group(1) or found.group(2) or found.group(3))
            at = found.end()
        self.contexts = contexts
        self.functions = {"success": all_well, "cancelled": False}

    def truth(self) -> bool:
        return self.value() not in ("", False)

    def value(self) -> str | bool:
        value = self.either()
        if self.words:
            raise ValueError(f"{self.text!r} is not understood from {self.words[0]!r} on")
        return value

    def either(self) -> str | bool:
        value = self.both()
        while self.take("||"):
            other = self.both()
            value = value or other
        return value

    def both(self) -> str | bool:
        value = self.compared()
        while self.take("&&"):
            other = self.compared()
            value = value and other
        return value

    def compared(self) -> str | bool:
        value = self.one()
        if self.take("=="):
            return value == self.one()
        if self.take("!="):
            return value != self.one()
        return value

    def one(self) -> str | bool:
        if self.take("!"):
            return not self.one()
        if self.take("("):
            value = self.either()
            self.expect(")")
            return value
        word = self.words.pop(0)
        if word.startswith("'"):
            return word[1:-1].replace("''", "'")
        if self.take("("):
            self.expect(")")
            return self.functions[word]
        value = self.contexts
        for part in word.split("."):
            # What a context does not have is empty.
            value = value.get(part, "") if isinstance(value, dict) else ""
        return value

    def take(self, word: str) -> bool:
        if self.words[:1] != [word]:
            return False
        self.words.pop(0)
        return True

    def expect(self, word: str) -> None:
        if not self.take(word):
            raise ValueError(f"{self.text!r} lacks a {word!r}")


def needs(job: dict) -> list[str]:
    named = job.get("needs", [])
    return [named] if isinstance(named, str) else named


def inner(condition: str) -> str:
    return condition.strip().removeprefix("${{").removesuffix("}}")


def fill(text: str, contexts: dict) -> str:
    """Puts values in the place of the expressions in a text."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(Expression(found.group(1), contexts).value()), text)
