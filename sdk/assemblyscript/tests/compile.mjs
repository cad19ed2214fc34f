// Compiles a source with this package's transform, as a project that depends on it would.

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import asc from "assemblyscript/asc";

const home = fileURLToPath(new URL("..", import.meta.url));

/** Compiles an entry file and returns the module's bytes. Throws the compiler's messages. */
export async function compile(entry) {
  const source = fileURLToPath(entry);
  // A project with the package in its `node_modules`, beside the compiler itself.
  const project = mkdtempSync(join(tmpdir(), "ferrite-as-"));
  try {
    const installed = join(project, "node_modules/@ferrite/wasm-sdk");
    for (const part of ["index.ts", "assembly", "transform.mjs", "asconfig.json", "package.json"]) {
      cpSync(join(home, part), join(installed, part), { recursive: true });
    }
    symlinkSync(join(home, "node_modules/assemblyscript"), join(project, "node_modules/assemblyscript"));
    cpSync(dirname(source), join(project, "assembly"), { recursive: true });
    const messages = asc.createMemoryStream();
    const { error } = await asc.main(
      [
        `assembly/${basename(source)}`,
        ...["--baseDir", project],
        ...["--config", relative(project, join(installed, "asconfig.json"))],
        ...["--outFile", "out.wasm"],
      ],
      { stdout: messages, stderr: messages },
    );
    if (error) throw new Error(`${error.message}\n${messages.toString()}`);
    return readFileSync(join(project, "out.wasm"));
  } finally {
    rmSync(project, { recursive: true });
  }
}
