"""redlock-py, as its README uses it."""
from measure import TIMEOUT, TTL, run
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redlock import Redlock


class Client:
    def __init__(self, nodes):
        # Redis-py would try ten times by itself.
        options = dict(
            socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
        )
        self.manager = Redlock([Redis.from_url(url, **options) for url in nodes])

    def acquire(self, resource):
        lock = self.manager.lock(resource, int(TTL * 1000))
        if not lock:
            raise TimeoutError("lock() returned False")
        return lock

    def release(self, lock):
        self.manager.unlock(lock)


run(Client)
