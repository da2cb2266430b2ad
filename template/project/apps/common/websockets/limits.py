"""How fast a page may send."""


class TokenBucket:
    """Lets `burst` messages through at once, and then `rate` a second.

    Source: the token bucket of traffic shaping, as in RFC 2697.
    """

    __slots__ = ("_stamp", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._stamp = now

    def take(self, now: float) -> float:
        """Take a token: 0, or the seconds until there is one. Who goes on regardless runs into debt."""
        tokens = self._tokens + (now - self._stamp) * self.rate
        self._tokens = tokens = (tokens if tokens < self.burst else self.burst) - 1
        self._stamp = now
        return 0.0 if tokens >= 0 else (1 - tokens) / self.rate

    @property
    def is_flooded(self) -> bool:
        """Whether the debt is as large as a burst: nobody is listening to the refusals."""
        return self._tokens <= -self.burst
