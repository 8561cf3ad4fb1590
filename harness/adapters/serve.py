"""What the adapters in Python share: the protocol of docs/adapters.md."""
import json
import os
import queue
import sys
import threading


class Failure(Exception):
    def __init__(self, kind, error, definite=False):
        super().__init__(error)
        self.kind, self.definite = kind, definite


def unknown(*_):
    raise Failure("other", "this adapter does not know that op", True)


def serve(name, caps, start, key="{resource}"):
    """`start(nodes, options)` is a client with acquire(resource, ttl_ms, wait_ms) -> (lock, valid_ms), release(lock), and,
    where `caps` has them, extend(lock, ttl_ms) and check(lock) -> valid_ms."""
    client, locks, count = None, {}, 0

    def held(request):
        if request["handle"] not in locks:
            raise Failure("lost", "no lock is held under this handle", True)
        return locks[request["handle"]]

    def answer(request):
        nonlocal client, count
        op = request["op"]
        if op == "init":
            client = start(request["nodes"], request["options"])
            return {"name": name, "caps": caps, "key": key}
        if op == "acquire":
            lock, valid_ms = client.acquire(request["resource"], request["ttl_ms"], request["wait_ms"])
            count += 1
            locks[f"h{count}"] = lock
            return {"handle": f"h{count}", "valid_ms": max(0, valid_ms)}
        if op == "extend" and op in caps:
            return {"valid_ms": max(0, client.extend(held(request), request["ttl_ms"]))}
        if op == "check" and op in caps:
            return {"valid_ms": max(0, client.check(held(request)))}
        if op == "release":
            lock = held(request)
            del locks[request["handle"]]
            client.release(lock)
            return {}
        return {} if op == "quit" else unknown()

    for request in requests():
        try:
            reply = {"ok": True, **answer(request)}
        except Failure as failure:
            reply = {"ok": False, "error": str(failure), "kind": failure.kind, "definite": failure.definite}
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            reply = {"ok": False, "error": text, "kind": "other", "definite": False}
        print(json.dumps({"id": request["id"], **reply}), flush=True)
        if request["op"] == "quit":
            os._exit(0)


def requests():
    """Reads on a thread, so that the end of stdin ends the process whatever the library is doing."""
    lines = queue.Queue()

    def read():
        for line in sys.stdin:
            lines.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()
