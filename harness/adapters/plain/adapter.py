import json, sys, time, uuid
import redis

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"
node, locks, count = None, {}, 0

class Failure(Exception):
    def __init__(self, kind, error, definite):
        super().__init__(error)
        self.kind, self.definite = kind, definite

def init(request):
    global node
    node = redis.Redis.from_url(request["nodes"][0])
    return {"name": "SET NX PX on one node, redis-py " + redis.__version__, "caps": []}

def acquire(request):
    global count
    resource, ttl_ms, token = request["resource"], request["ttl_ms"], uuid.uuid4().hex
    until = time.monotonic() + request["wait_ms"] / 1000
    while True:
        begin = time.monotonic()
        if node.set(resource, token, nx=True, px=ttl_ms):
            count += 1
            handle = f"h{count}"
            locks[handle] = (resource, token)
            return {"handle": handle, "valid_ms": max(0, ttl_ms - (time.monotonic() - begin) * 1000)}
        if time.monotonic() >= until:
            raise Failure("contended", "somebody else holds it", True)
        time.sleep(0.05)

def release(request):
    if request["handle"] not in locks:
        raise Failure("lost", "no lock is held under this handle", True)
    if not node.eval(RELEASE, 1, *locks.pop(request["handle"])):
        raise Failure("lost", "it was over before", True)
    return {}

OPS = {"init": init, "acquire": acquire, "release": release, "quit": lambda request: {}}

for line in sys.stdin:
    request = json.loads(line)
    try:
        if request["op"] not in OPS:
            raise Failure("other", "this adapter does not know that op", True)
        answer = {"ok": True, **OPS[request["op"]](request)}
    except Failure as failure:
        answer = {"ok": False, "error": str(failure), "kind": failure.kind, "definite": failure.definite}
    except redis.RedisError as error:
        answer = {"ok": False, "error": str(error), "kind": "unavailable", "definite": False}
    print(json.dumps({"id": request["id"], **answer}), flush=True)
    if request["op"] == "quit":
        break
