"""Redlock of pottery, as its README uses it: a new object for each lock."""
import sys
from pathlib import Path

# This file has the library's name, and its folder goes before the library's.
here = str(Path(__file__).resolve().parent)
sys.path = [place for place in sys.path if place != here] + [here]

from measure import TIMEOUT, TTL, run  # noqa: E402
from pottery import Redlock  # noqa: E402
from redis import Redis  # noqa: E402
from redis.backoff import NoBackoff  # noqa: E402
from redis.retry import Retry  # noqa: E402


class Client:
    def __init__(self, nodes):
        # Redis-py would try ten times by itself.
        options = dict(
            socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
        )
        self.masters = {Redis.from_url(url, **options) for url in nodes}

    def acquire(self, resource):
        lock = Redlock(key=resource, masters=self.masters, auto_release_time=TTL)
        if not lock.acquire():
            raise TimeoutError("acquire() returned False")
        return lock

    def release(self, lock):
        lock.release()


run(Client)
