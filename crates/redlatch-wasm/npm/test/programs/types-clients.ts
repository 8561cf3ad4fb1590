// With the clients that an application has already.
import net from "node:net";
import tls from "node:tls";
import { Cluster, Redis } from "ioredis";
import { createClient } from "redis";
import { Redlatch, ioredis, nodeRedis, resp } from "redlatch";
import Redlock from "redlatch/redlock";

export const redlatch = new Redlatch([
    ioredis(new Redis()),
    ioredis(new Cluster([])),
    nodeRedis(createClient()),
    resp(() => net.connect(6379)),
    resp({ connect: () => tls.connect(6380), user: "u", password: "p" }),
]);
export const redlock = new Redlock([new Redis(), new Cluster([])], { retryCount: 1 });

export async function held(): Promise<void> {
    await using lock = await redlatch.acquire("a", 1000);
    console.log(lock.fence);
}
