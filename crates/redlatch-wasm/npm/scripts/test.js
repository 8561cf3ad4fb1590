// Packs the package, installs the tarball in a fresh folder, and runs the tests there.
// Arguments: test files, all unless given; `--prepare` runs none.
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const here = join(import.meta.dirname, "..");
const base = join(here, "../../../target/npm");
const fresh = join(base, "fresh");

/** A file that takes as long hangs, on however busy a machine. */
const TEST_MS_MAX = 900_000;

function run(command, args, options = {}) {
    const { status, error, stdout } = spawnSync(command, args, { stdio: ["ignore", "pipe", "inherit"], encoding: "utf8", ...options });
    if (error !== undefined || status !== 0) {
        console.error(`${command} ${args.join(" ")}: ${error?.message ?? `status ${status}`}`);
        process.exit(1);
    }
    return stdout;
}

for (const folder of [here, join(here, "test")]) {
    if (!existsSync(join(folder, "node_modules"))) {
        console.error(`test: ${folder}/node_modules is not there; run \`just setup\``);
        process.exit(1);
    }
}
run(process.execPath, [join(here, "scripts/build.js")], { stdio: "inherit" });
rmSync(fresh, { recursive: true, force: true });
mkdirSync(fresh, { recursive: true });
const [{ filename }] = JSON.parse(run("npm", ["pack", "--json", "--silent", "--pack-destination", base], { cwd: here }));

// What the tests use besides the package is found one folder up.
const modules = join(base, "node_modules");
rmSync(modules, { force: true });
symlinkSync(join(here, "test/node_modules"), modules);
cpSync(join(here, "test"), fresh, { recursive: true, filter: (path) => !path.includes("node_modules") && !/package(-lock)?\.json$/.test(path) });
cpSync(join(here, "../../../examples/worker"), join(fresh, "example-worker"), { recursive: true, filter: (path) => !path.includes("node_modules") });
writeFileSync(join(fresh, "package.json"), JSON.stringify({ name: "fresh", private: true, type: "module", dependencies: { redlatch: `file:../${filename}` } }));
run("npm", ["install", "--offline", "--no-audit", "--no-fund", "--silent"], { cwd: fresh });

if (process.argv[2] === "--prepare") process.exit(0);

const files = process.argv.length > 2 ? process.argv.slice(2) : readdirSync(fresh).filter((name) => name.endsWith(".test.js"));
const tests = spawn(
    process.execPath,
    ["--test", "--test-concurrency=1", "--test-force-exit", `--test-timeout=${TEST_MS_MAX}`, ...files],
    // In a group of its own, so that whoever ends this ends every test with the servers that it started.
    { cwd: fresh, stdio: "inherit", detached: true },
);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.kill(-tests.pid, signal));
tests.once("exit", (code) => process.exit(code ?? 1));
