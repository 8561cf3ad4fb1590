// Where neither a browser's types nor Node's are there.
import { ContendedError, LostError, Redlatch, resp, upstash, webdis, type Lock, type Node, type Vote } from "redlatch";

const custom: Node = { send: async (args, { signal }) => (signal.aborted ? null : [1, args.length]) };
const redlatch = new Redlatch([
    upstash({ url: "https://a.example.org", token: "t", batch: true }),
    webdis({ url: "https://b.example.org", user: "u", password: "p" }),
    custom,
], { restartGuard: 60_000, keyPrefix: "p:" });

export async function work(): Promise<number> {
    const lock: Lock = await redlatch.acquire(["{a}1", "{a}2"], 1000, { wait: 10, retryDelay: [1, 2], fence: true });
    const fence: number | undefined = lock.fence;
    const loss: LostError = await lock.lost;
    const text: "expired" | "hold_max" | "gone" = loss.loss;
    await lock.extend();
    await lock.release();
    // @ts-expect-error there is no such option
    await redlatch.tryAcquire("a", 1000, { timeout: 1 });
    // @ts-expect-error a ttl is a number
    await redlatch.tryAcquire("a", "1s");
    const output: number = await redlatch.using("a", 1000, async (signal, held) => (signal.aborted ? 0 : held.remaining()));
    return output + (fence ?? text.length);
}

export function votes(error: unknown): readonly Vote[] {
    return error instanceof ContendedError ? error.votes : [];
}

export { resp };
