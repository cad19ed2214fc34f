"""Makes a component of a project: `python3 -m ferrite.build FOLDER OUTPUT`.

`ferrite-wasmc build` runs this from the project's `ferrite-sdk`. The steps: take the project's requirements,
as far as they are pure Python; check every source; let componentize-py run the program's top level and keep
what that leaves in memory; list the entries in a custom section.
"""

import ast
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

SDK = Path(__file__).resolve().parent

#: The program, beside the interpreter as in a virtual environment, or on the PATH.
COMPONENTIZE = "componentize-py"

if (Path(sys.executable).parent / COMPONENTIZE).is_file():
    COMPONENTIZE = str(Path(sys.executable).parent / COMPONENTIZE)

#: What a function gets that asks for nothing, where a server's defaults are lower: CPython begins with more memory
#: than most functions ever take, and takes more fuel for each step than compiled code.
LIMITS = b'{"max_memory":"64MB","max_fuel":200000000}'

#: Python's version inside, for which wheels are chosen.
INSIDE = "3.14"

#: Modules that the standard library imports inside functions. There are no files when a call runs.
LAZY = [
    "_strptime",
    "calendar",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.unicode_escape",
    "encodings.utf_16",
    "encodings.utf_8",
    "linecache",
    "locale",
    "random",
    "string",
    "struct",
    "tokenize",
    "traceback",
]

#: What cannot be had inside, and why.
ABSENT = {
    "asyncio": "there is no event loop: a call runs to its end",
    "_socket": "functions have no network",
    "socket": "functions have no network",
    "ssl": "functions have no network",
    "_ssl": "functions have no network",
    "sqlite3": "use the store beside the function",
    "_sqlite3": "use the store beside the function",
    "threading": "there are no threads",
    "_multiprocessing": "there are no processes",
    "multiprocessing": "there are no processes",
    "subprocess": "there are no processes",
    "_ctypes": "there is no machine code to call",
    "ctypes": "there is no machine code to call",
}

NATIVE = re.compile(r"\.(so|pyd|dylib|dll)\Z")


class BuildError(Exception):
    """The project cannot be built; the text says why, and what to do."""


def main(arguments: list[str]) -> int:
    """Builds a project, or prints why it cannot be built."""
    if len(arguments) != 2:
        print("usage: python3 -m ferrite.build FOLDER OUTPUT", file=sys.stderr)
        return 2
    try:
        build(Path(arguments[0]), Path(arguments[1]))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(folder: Path, output: Path) -> list[str]:
    """Writes the component, unless it is there already; returns the names of its entries if it was written."""
    settings = read_settings(folder)
    module = settings.get("module", "functions")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", module):
        raise BuildError(f"`module = {module!r}` in pyproject.toml is no name of a module")
    sources = project_sources(folder)
    if not any(path.name in (f"{module.split('.')[0]}.py", "__init__.py") for path in sources):
        raise BuildError(
            f"there is no {module}.py in {folder}; write it, or name another module as `module` in the "
            "section [tool.ferrite] of pyproject.toml"
        )
    for path in sources:
        check(path, folder)
    packages = install(folder, settings["requirements"])
    refuse_native(packages)
    inputs = fingerprint(folder, sources, settings)
    if is_built(output, inputs):
        return []
    lazy = sorted({*settings.get("imports", []), *lazy_imports([*sources, *packages.rglob("*.py")])})
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        app = Path(temporary) / "app"
        app.mkdir()
        # Bytes that stand nowhere else, without zeros, at which memory may be cut.
        mark = bytes(secrets.randbelow(255) + 1 for _ in range(24))
        (app / "_ferrite_app.py").write_text(program(module, lazy, mark))
        # Without what a project keeps beside its program.
        source = Path(temporary) / "source"
        for path in sources:
            target = source / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        sdk = Path(temporary) / "sdk"
        ignored = shutil.ignore_patterns("__pycache__", "testing", "build.py", "wit")
        shutil.copytree(SDK, sdk / "ferrite", ignore=ignored)
        component = Path(temporary) / "component.wasm"
        componentize([app, source, packages, sdk], component)
        entries = marked(component.read_bytes(), mark)
        append_section(component, "ferrite:entries", "\n".join(entries).encode())
        append_section(component, "ferrite.limits", LIMITS)
        declared = declarations(component.read_bytes(), mark)
        if declared:
            append_section(component, "ferrite.automation", declared)
        shutil.move(component, output)
    stamp(output).write_text(f"{inputs} {digest(output.read_bytes())}")
    return entries


def digest(*parts: bytes) -> str:
    """A digest of parts, each with its length."""
    all_of_them = hashlib.sha256()
    for part in parts:
        all_of_them.update(len(part).to_bytes(8, "little") + part)
    return all_of_them.hexdigest()


def fingerprint(folder: Path, sources: list[Path], settings: dict) -> str:
    """A digest of everything that a component is made of."""
    sdk = [path for path in sorted(SDK.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    try:
        version = subprocess.run([COMPONENTIZE, "--version"], capture_output=True).stdout
    except OSError:
        # The build itself says what is missing.
        version = b""
    parts = [repr(sorted(settings.items())).encode(), version]
    for path in [*sources, *sdk]:
        parts += [str(path).encode(), path.read_bytes()]
    return digest(*parts)


def stamp(output: Path) -> Path:
    """The file that says what a component was made of."""
    return output.with_suffix(".inputs")


def is_built(output: Path, inputs: str) -> bool:
    """True if this very component was made of these inputs."""
    try:
        return stamp(output).read_text() == f"{inputs} {digest(output.read_bytes())}"
    except OSError:
        return False


def read_settings(folder: Path) -> dict:
    """The project's settings, and its requirements."""
    settings, requirements = {}, []
    path = folder / "pyproject.toml"
    if path.is_file():
        try:
            parsed = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BuildError(f"pyproject.toml cannot be read: {error}") from None
        settings = parsed.get("tool", {}).get("ferrite", {})
        requirements = parsed.get("project", {}).get("dependencies", [])
    listed = folder / "requirements.txt"
    if listed.is_file():
        lines = (line.split(" #")[0].strip() for line in listed.read_text().splitlines())
        requirements = [*requirements, *(line for line in lines if line and not line.startswith("#"))]
    # The SDK itself is taken from this folder.
    wanted = [it for it in requirements if not it.replace("_", "-").startswith("ferrite-wasm")]
    return {**settings, "requirements": wanted}


def project_sources(folder: Path) -> list[Path]:
    """The Python files of a project, without its tests, its SDK and what was built."""
    aside = {"build", "cache", "ferrite-sdk", "tests", "__pycache__", "venv"}
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        if not hidden and parts[0] not in aside and not parts[-1].startswith(("test_", "conftest")):
            found.append(path)
    return found


def check(path: Path, folder: Path) -> None:
    """Refuses a file that does not parse, before the long build begins."""
    shown = path.relative_to(folder)
    try:
        ast.parse(path.read_bytes(), filename=str(shown))
    except SyntaxError as error:
        raise BuildError(f"{shown}, line {error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise BuildError(f"{shown} cannot be read: {error}") from None


def install(folder: Path, requirements: list[str]) -> Path:
    """Installs requirements below the project, unless the same ones are there."""
    packages = folder / "build" / "packages"
    wanted = hashlib.sha256("\n".join([INSIDE, *requirements]).encode()).hexdigest()
    stamp = folder / "build" / "packages.installed"
    if packages.is_dir() and stamp.is_file() and stamp.read_text() == wanted:
        return packages
    shutil.rmtree(packages, ignore_errors=True)
    packages.mkdir(parents=True)
    if requirements:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--target", str(packages), "--only-binary=:all:", "--no-compile"]
        command += ["--platform=any", "--implementation=py", "--abi=none", f"--python-version={INSIDE}"]
        run = subprocess.run([*command, *requirements], capture_output=True, text=True, cwd=folder)
        if run.returncode != 0:
            raise BuildError(explain_pip(run.stderr))
    stamp.write_text(wanted)
    return packages


def explain_pip(text: str) -> str:
    """Says why a requirement was not installed."""
    lines = [line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR: ")]
    missing = re.search(r"No matching distribution found for (\S+)", text)
    if missing:
        return (
            f"the requirement `{missing[1]}` cannot be had as pure Python for Python {INSIDE}: it is not "
            "on PyPI, or all its wheels hold machine code, which cannot run in WebAssembly; take a package "
            "that is pure Python"
        )
    return "pip could not install the requirements: " + ("; ".join(lines) or text.strip())


def refuse_native(packages: Path) -> None:
    """Refuses machine code among the packages."""
    for path in sorted(packages.rglob("*")):
        if NATIVE.search(path.name):
            raise BuildError(
                f"{path.relative_to(packages)} is an extension in machine code, which cannot run in "
                "WebAssembly; take a package that is pure Python"
            )


def lazy_imports(paths) -> set[str]:
    """Modules that these files import inside functions."""
    found = set()
    for path in paths:
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            # A package may hold files for other versions of Python.
            continue
        for function in ast.walk(tree):
            if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    found.update(alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module)
    return {name for name in found if name.split(".")[0] not in ABSENT}


def program(module: str, lazy: list[str], mark: bytes) -> str:
    """The program that componentize-py runs, and whose state becomes the component."""
    return f"""\
import importlib, sys
import {module}
for _name in {[*LAZY, *lazy]!r}:
    # A module that is absent stays so, and is missed only by who calls for it.
    try:
        importlib.import_module(_name)
    except Exception:
        pass
from ferrite._component import WitWorld, warm_up
from ferrite import entries as _entries
if not _entries:
    raise SystemExit("ferrite: no entry")
# The build finds the names in the memory that remains, between two marks.
_mark = bytes.fromhex({mark.hex()!r})
_names = _mark + "\\n".join(_entries).encode() + _mark[::-1]
from ferrite._automation import lines as _lines
# The same for declarations, behind a slash.
_declared = _mark + b"/" + "\\n".join(_lines()).encode() + _mark[::-1]
warm_up()
"""


def marked(component: bytes, mark: bytes) -> list[str]:
    """The entries' names, from the memory that the program left."""
    for found in re.finditer(re.escape(mark) + rb"([A-Za-z0-9_:\n-]+)" + re.escape(mark[::-1]), component):
        return found[1].decode().split("\n")
    raise BuildError("the component does not hold the names of its entries; this is a bug of the SDK")


def declarations(component: bytes, mark: bytes) -> bytes:
    """The declared triggers and schedules, from the memory that the program left."""
    found = re.search(re.escape(mark) + rb"/([^\x00-\x09\x0b-\x1f]*?)" + re.escape(mark[::-1]), component)
    if found is None:
        raise BuildError("the component does not hold its declarations; this is a bug of the SDK")
    return found[1]


def componentize(paths: list[Path], component: Path) -> None:
    """Runs componentize-py."""
    wit = SDK / "wit"
    if not wit.is_dir():
        wit = SDK.parent.parent / "wit"
    command = [COMPONENTIZE, "--quiet", "--wit-path", str(wit), "--world", "function", "componentize"]
    for path in paths:
        command += ["--python-path", str(path)]
    command += ["_ferrite_app", "--output", str(component)]
    environment = {**os.environ, "RUST_BACKTRACE": "0"}
    try:
        run = subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError as error:
        raise BuildError(
            f"componentize-py cannot be run ({error.strerror}); get it with `pip install componentize-py`"
        ) from None
    if run.returncode != 0 or not component.is_file():
        raise BuildError(explain(run.stderr + run.stdout, paths))


def explain(text: str, paths: list[Path]) -> str:
    """Says why the program's top level failed."""
    if "ferrite: no entry" in text:
        return "no entry: put @ferrite.function before the functions that callers may call"
    # componentize-py has a traceback of its own around that of the program.
    shown = text.partition("AssertionError: ")[2] or text
    shown = re.split(r"\n\s*\n|\nCaused by:|\nStack backtrace:", shown.strip(), maxsplit=1)[0]
    for number in range(len(paths)):
        shown = shown.replace(f'"/{number}/', '"')
    lines = shown.splitlines()
    if len(lines) > 2 and "_ferrite_app.py" in lines[1]:
        # The first frame is the program around the project's module.
        end = next((at for at in range(2, len(lines)) if lines[at].startswith("  File ")), 2)
        lines[1:end] = []
    shown = "\n".join(lines)
    absent = re.search(r"No module named '([\w.]+)'", shown)
    if absent:
        name = absent[1].split(".")[0]
        reason = ABSENT.get(absent[1]) or ABSENT.get(name)
        hint = f"there is no `{absent[1]}` here: {reason}" if reason else (
            f"there is no module `{absent[1]}`: add its package to the requirements, in pyproject.toml "
            "or requirements.txt; only pure Python can be had"
        )
        return f"{hint}\n{shown}"
    if "there is no store here" in shown:
        return f"the top of a module runs when it is built, without a store; reach it inside functions\n{shown}"
    return f"the program's top level failed:\n{shown}"


def append_section(path: Path, name: str, content: bytes) -> None:
    """Appends a custom section to a component."""
    encoded = name.encode()
    body = leb128(len(encoded)) + encoded + content
    with path.open("ab") as file:
        file.write(b"\0" + leb128(len(body)) + body)


def leb128(number: int) -> bytes:
    """An unsigned number as WebAssembly writes it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
