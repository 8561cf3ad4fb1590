"""Redlock of pottery, as its README uses it: a new object for each lock."""
from pottery import (
    ExtendUnlockedLock,
    QuorumIsImpossible,
    Redlock,
    ReleaseUnlockedLock,
    TooManyExtensions,
)
from redis import Redis
from serve import Failure, serve


class Client:
    def __init__(self, nodes, _options):
        self.masters = {Redis.from_url(url) for url in nodes}

    def acquire(self, resource, ttl_ms, wait_ms):
        lock = Redlock(key=resource, masters=self.masters, auto_release_time=ttl_ms / 1000)
        how = {"timeout": wait_ms / 1000} if wait_ms else {"blocking": False}
        if not lock.acquire(**how):
            # False is all that it says, whether the lock is taken or the nodes are silent.
            raise Failure("other", "acquire() returned False")
        return lock, lock.locked() * 1000

    def extend(self, lock, _ttl_ms):
        try:
            lock.extend()
        except ExtendUnlockedLock as error:
            raise Failure("lost", str(error))
        except TooManyExtensions as error:
            raise Failure("other", str(error), True)
        except QuorumIsImpossible as error:
            raise Failure("unavailable", str(error))
        return lock.locked() * 1000

    def check(self, lock):
        valid_ms = lock.locked() * 1000
        if not valid_ms:
            raise Failure("lost", "locked() returned 0", True)
        return valid_ms

    def release(self, lock):
        try:
            lock.release()
        except ReleaseUnlockedLock as error:
            raise Failure("lost", str(error))
        except QuorumIsImpossible as error:
            raise Failure("unavailable", str(error))


serve("pottery 3.0.1", ["extend", "check"], Client, key="redlock:{resource}")
