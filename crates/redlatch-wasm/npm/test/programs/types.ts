// With a browser's types.
import { Redlatch, upstash, webdis, type LockOptions } from "redlatch";
import Redlock, { ExecutionError, ResourceLockedError, type Settings } from "redlatch/redlock";

const redlatch = new Redlatch([upstash({ url: "https://a.example.org", token: "t", fetch }), webdis({ url: "http://b" })]);

export async function work(signal: AbortSignal): Promise<Response> {
    const options: LockOptions = { signal, waitUntil: (work: Promise<void>) => void work };
    return redlatch.using("a", 1000, options, async (inner) => {
        const same: AbortSignal = inner;
        return fetch("https://c.example.org", { signal: same });
    });
}

export async function old(redlock: Redlock, settings: Partial<Settings>): Promise<void> {
    redlock.on("error", (error) => {
        if (error instanceof ResourceLockedError) return;
        console.error(error.message);
    });
    await redlock.using(["a"], 5000, settings, async (signal) => {
        if (signal.aborted) throw signal.error;
    });
    let lock = await redlock.acquire(["a"], 5000);
    lock = await lock.extend(5000);
    try {
        const { attempts } = await lock.release();
        const { votesFor, votesAgainst, membershipSize } = await attempts[0]!;
        console.log(votesFor.size, votesAgainst.size, membershipSize, lock.value, lock.expiration);
    } catch (error) {
        if (error instanceof ExecutionError) console.log(error.attempts.length);
    }
}
