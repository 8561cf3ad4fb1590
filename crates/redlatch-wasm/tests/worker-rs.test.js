// The example in Rust, run by workerd, over three real Redis servers behind proxies that answer as Upstash does.

import assert from "node:assert/strict";
import { cpSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { startRedis } from "../npm/test/lib/fleet.js";
import { folder, port, start, stop, until } from "../npm/test/lib/processes.js";
import { startUpstash } from "../npm/test/lib/stub.js";
import { packaged } from "../npm/test/lib/tools.js";

const built = fileURLToPath(new URL("../../../target/worker-rs/pkg/", import.meta.url));
const token = "token-of-the-test";
const nodes = [];
let workerd;
let url;

before(async () => {
  assert.ok(existsSync(join(built, "core_bg.wasm")), "target/worker-rs/pkg is missing; run: just wasm-test");
  for (let node = 0; node < 3; node++) {
    const redis = await startRedis(await port());
    nodes.push({ redis, proxy: await startUpstash(redis.port, token) });
  }
  const out = folder();
  cpSync(built, out, { recursive: true });
  writeFileSync(join(out, "worker.js"), `
    import module from "./core_bg.wasm";
    import * as program from "./core.js";
    program.initSync({ module });
    export default { fetch: (request, env, context) => program.fetch(request, env, context) };
  `);
  const snippets = readdirSync(out, { recursive: true }).filter((file) => file.startsWith("snippets/") && file.endsWith(".js"));
  const httpPort = await port();
  url = `http://127.0.0.1:${httpPort}`;
  writeFileSync(join(out, "config.capnp"), `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [
        (name = "worker.js", esModule = embed "worker.js"),
        (name = "core.js", esModule = embed "core.js"),
        (name = "core_bg.wasm", wasm = embed "core_bg.wasm"),
        ${snippets.map((file) => `(name = "${file}", esModule = embed "${file}"),`).join("\n")}
      ],
      bindings = [
        (name = "NODES", text = "${nodes.map(({ proxy }) => proxy.url).join(",")}"),
        (name = "TOKEN", text = "${token}"),
      ],
      compatibilityDate = "2026-04-01",
    )),
    (name = "internet", network = (allow = ["private", "public", "local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${httpPort}", http = (), service = "main")],
);
`);
  const binary = packaged(`@cloudflare/workerd-${process.platform}-${process.arch === "x64" ? "64" : process.arch}`, "bin/workerd");
  workerd = start(binary, ["serve", join(out, "config.capnp")]);
  await until(`workerd answers (${workerd.log})`, async () => (await fetch(url)).status === 404);
});

after(async () => {
  if (workerd) await stop(workerd);
  for (const { redis, proxy } of nodes) {
    await proxy.close();
    redis.client.disconnect();
    await stop(redis.process);
  }
});

const count = (name) => fetch(`${url}/count/${name}`, { method: "POST" });

test("requests that count at the same time do not count the same", async () => {
  const responses = await Promise.all(Array.from({ length: 8 }, () => count("visits")));
  const texts = await Promise.all(responses.map((response) => response.text()));
  assert.deepEqual(texts.map(Number).sort((a, b) => a - b), [1, 2, 3, 4, 5, 6, 7, 8], texts.join("\n"));
  assert.equal(await nodes[0].redis.client.get("count:visits"), "8");
  // What comes after the response goes on in `wait_until`.
  await until("the lock is free on every node", async () => {
    const keys = await Promise.all(nodes.map(({ redis }) => redis.client.exists("lock:visits")));
    return keys.every((key) => key === 0);
  });
});

test("whoever finds the lock taken is told by which nodes", async () => {
  for (const { redis } of nodes) await redis.client.set("lock:taken", "somebody", "PX", 3_600_000);
  const response = await count("taken");
  assert.equal(response.status, 409);
  const text = await response.text();
  assert.match(text, /the lock is taken.*node 0: no \(taken for \d+ ms more\)/);
  assert.equal(await nodes[0].redis.client.get("count:taken"), null);
});

test("a node that is down changes nothing", async () => {
  await stop(nodes[2].redis.process);
  const response = await count("minority");
  assert.deepEqual([response.status, await response.text()], [200, "1"]);
});
