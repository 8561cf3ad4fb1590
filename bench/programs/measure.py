"""Measures a lock client in Python: the same as bench/src/measure.rs does for subjects in Rust."""
import json
import resource as processors
import sys
import threading
import time

TTL = 60.0
WARM_UP = 0.2
PATIENCE = 3.0
TIMEOUT = 0.2  # of a command and of connecting


def say(line):
    print(json.dumps(line), flush=True)
    if not sys.stdin.readline():
        sys.exit(1)


def spread(seconds):
    if not seconds:
        return dict(p50=0, p99=0, p999=0, mean=0, max=0)
    ordered = sorted(seconds)

    def at(quantile):
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] * 1e6

    mean = sum(ordered) / len(ordered) * 1e6
    return dict(p50=at(0.5), p99=at(0.99), p999=at(0.999), mean=mean, max=ordered[-1] * 1e6)


def cpu():
    used = processors.getrusage(processors.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Tally:
    def __init__(self):
        self.acquire, self.release, self.pair = [], [], []
        self.counted = self.errors = 0


def work(client, worker, window, tally):
    start, end = window
    while (asked := time.perf_counter()) < end:
        try:
            lock = client.acquire(f"bench:{worker}")
            got = time.perf_counter()
            client.release(lock)
        except Exception:
            tally.errors += asked >= start
            continue
        done = time.perf_counter()
        tally.counted += 1
        if asked >= start and done <= end:
            tally.acquire.append(got - asked)
            tally.release.append(done - got)
            tally.pair.append(done - asked)


def measure(client, workers, seconds, settle):
    start = time.perf_counter() + settle
    window = start, start + seconds
    tallies = [Tally() for _ in range(workers)]
    threads = [
        threading.Thread(target=work, args=(client, worker, window, tally), daemon=True)
        for worker, tally in enumerate(tallies)
    ]
    for thread in threads:
        thread.start()
    time.sleep(max(0, window[0] - time.perf_counter()))
    used, began = cpu(), time.perf_counter()
    time.sleep(max(0, window[1] - time.perf_counter()))
    used, elapsed = cpu() - used, time.perf_counter() - began
    deadline = time.perf_counter() + PATIENCE
    for thread in threads:
        thread.join(max(0, deadline - time.perf_counter()))

    def all_of(name):
        return [value for tally in tallies for value in getattr(tally, name)]

    return dict(
        elapsed_us=elapsed * 1e6,
        pairs=len(all_of("pair")),
        pairs_counted=sum(tally.counted for tally in tallies),
        errors=sum(tally.errors for tally in tallies),
        stuck=sum(thread.is_alive() for thread in threads),
        pair_us=spread(all_of("pair")),
        acquire_us=spread(all_of("acquire")),
        release_us=spread(all_of("release")),
        cpu_us=used * 1e6,
    )


def run(connect):
    """Does the task of the command line with `connect(nodes)`, which has `acquire` and `release`."""
    task = json.loads(sys.argv[1])
    client = connect(task["nodes"])
    measure(client, task["workers"], WARM_UP, 0)
    say("ready")
    say(dict(measured=measure(client, task["workers"], task["seconds"], task["settle_seconds"])))
