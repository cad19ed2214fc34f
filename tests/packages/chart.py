"""Renders the chart with each file of values in its folder ci, and checks what comes out: by the schemas of Kubernetes,
and by the server, which reads the configuration and the variables that its container would get.

    python tests/packages/chart.py HELM CHART FERRITE_SERVER
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

# The oldest version that is looked at, and the newest that the schemas are of.
VERSIONS = ["1.29", kubernetes_validate.latest_version()]


def fail(text: str) -> None:
    sys.exit(f"FAILED: {text}")


def render(helm: str, chart: pathlib.Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [helm, "template", "release", str(chart), "--namespace", "data", *options]
    return subprocess.run(command, capture_output=True, text=True)


def one(objects: list[dict], kind: str) -> dict | None:
    found = [it for it in objects if it["kind"] == kind]
    if len(found) > 1:
        fail(f"{len(found)} objects are a {kind}")
    return found[0] if found else None


def check_server(server: str, objects: list[dict], folder: pathlib.Path) -> None:
    """Lets the server read what its container would get, with the chart's paths below `folder`."""
    workload = one(objects, "StatefulSet")
    files = one(objects, "ConfigMap")
    secret = one(objects, "Secret")
    pod = workload["spec"]["template"]["spec"]
    container = pod["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for claim in workload["spec"]["volumeClaimTemplates"]:
        volumes[claim["metadata"]["name"]] = {}
    if mounts.keys() != volumes.keys():
        fail(f"mounts {sorted(mounts)} are of other volumes than {sorted(volumes)}")
    for item in volumes["config"]["configMap"]["items"]:
        path = folder / mounts["config"].lstrip("/") / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files["data"][item["key"]])

    below = lambda text: text.replace("/etc/ferrite", f"{folder}/etc/ferrite").replace("/var/lib", f"{folder}/var/lib")
    environment = {}
    for variable in container["env"]:
        if "value" in variable:
            environment[variable["name"]] = below(variable["value"])
            continue
        wanted = variable["valueFrom"]["secretKeyRef"]
        if secret is None:
            environment[variable["name"]] = "of another secret"
        elif wanted["name"] == secret["metadata"]["name"]:
            environment[variable["name"]] = secret["stringData"][wanted["key"]]
        else:
            fail(f"no secret is called {wanted['name']}")
    for path in folder.rglob("*.toml"):
        path.write_text(below(path.read_text()))
    arguments = [below(argument) for argument in container["args"]]
    done = subprocess.run([server, "--check-config", *arguments], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"the server does not take its configuration: {done.stdout}{done.stderr}")
    ports = {port["name"] for port in container["ports"]}
    for port in one(objects, "Service")["spec"]["ports"]:
        if port["targetPort"] not in ports:
            fail(f"the service leads to the port {port['targetPort']}, which no container has")


def main() -> None:
    helm, chart, server = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    refused = render(helm, chart)
    if refused.returncode == 0 or "set auth.password, or name a secret in auth.existingSecret" not in refused.stderr:
        fail(f"the chart does not ask for a password: {refused.stdout}{refused.stderr}")
    values = sorted((chart / "ci").glob("*-values.yaml"))
    if not values:
        fail("there are no values to try")
    for file in values:
        lint = subprocess.run([helm, "lint", "--strict", "--quiet", str(chart), "--values", str(file)])
        rendered = render(helm, chart, "--values", str(file))
        if lint.returncode or rendered.returncode:
            fail(f"{file.name}: {rendered.stderr}")
        objects = [it for it in yaml.safe_load_all(rendered.stdout) if it]
        for version in VERSIONS:
            for it in objects:
                try:
                    kubernetes_validate.validate(it, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    fail(f"{file.name}: {it['kind']} of Kubernetes {version}: {error.message}")
        with tempfile.TemporaryDirectory() as folder:
            check_server(server, objects, pathlib.Path(folder))
        print(f"{file.name}: {', '.join(it['kind'] for it in objects)}")


main()
