"""redlock-py, as its README uses it. It has no extension."""
from redlock import MultipleRedlockException, Redlock
from serve import Failure, serve

RETRY_DELAY_MS = 200  # the library's own


class Client:
    def __init__(self, nodes, _options):
        self.manager = Redlock(nodes)

    def acquire(self, resource, ttl_ms, wait_ms):
        self.manager.retry_count = 1 + wait_ms // RETRY_DELAY_MS
        try:
            lock = self.manager.lock(resource, ttl_ms)
        except MultipleRedlockException as error:
            raise Failure("unavailable", str(error))
        if not lock:
            # False is all that it says, whether the lock is taken or the nodes are silent.
            raise Failure("other", "lock() returned False")
        return lock, lock.validity

    def release(self, lock):
        self.manager.unlock(lock)


serve("redlock-py 1.0.8", [], Client)
