"""A registry on loopback, which asks for a password."""

import pathlib
import re
import subprocess
import sys

USER = "robot"
PASSWORD = "the token of the run"
# That password by bcrypt.
HTPASSWD = "robot:$2b$05$u7Sou1Ws0kiPgKAmTG8kYe7d1kHBfrv21oGZuF3kaKQQv8Z/Obuhe\n"


class Registry:
    """A running registry, with its files in a folder. Its address is in `address`."""

    def __init__(self, program: str, folder: pathlib.Path):
        (folder / "htpasswd").write_text(HTPASSWD)
        config = folder / "registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: info}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
            f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
            'http: {addr: "127.0.0.1:0"}\n'
        )
        log = folder / "registry.log"
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [program, "serve", config], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        while self.process.poll() is None:
            found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())
            if found:
                self.address = found.group(1)
                return
        sys.exit(f"FAILED: the registry ended: {log.read_text()}")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
