// Runs the command-line tools of clients on schema.graphql, each in a directory of its own.
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const here = fileURLToPath(new URL(".", import.meta.url));

/** A directory with these files, the packages and the schema. */
export async function workspace(files) {
  const dir = await mkdtemp(path.join(tmpdir(), "todo-api-tools-"));
  await symlink(path.join(here, "node_modules"), path.join(dir, "node_modules"));
  await copyFile(path.join(here, "../../schema.graphql"), path.join(dir, "schema.graphql"));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(dir, name)), { recursive: true });
    await writeFile(path.join(dir, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return {
    path: (name) => path.join(dir, name),
    /** Runs a program of the packages; fails with what it prints if it does. */
    async run(program, ...args) {
      const options = { cwd: dir, env: { ...process.env, NO_COLOR: "1" } };
      try {
        return await promisify(execFile)(path.join(here, "node_modules/.bin", program), args, options);
      } catch (error) {
        throw new Error(`${program} ${args.join(" ")} failed:\n${error.stdout}\n${error.stderr}`);
      }
    },
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}
