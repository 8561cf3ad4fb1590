// The numbers of the package, from its tarball.
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const here = join(import.meta.dirname, "..");
const prepared = spawnSync(process.execPath, [join(here, "scripts/test.js"), "--prepare"], { stdio: "inherit" });
if (prepared.status !== 0) process.exit(1);
const { status } = spawnSync(process.execPath, ["bench.js"], { cwd: join(here, "../../../target/npm/fresh"), stdio: "inherit" });
process.exit(status ?? 1);
