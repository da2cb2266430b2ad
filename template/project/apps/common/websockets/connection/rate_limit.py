"""How fast a client may send."""


class TokenBucket:
    """Lets `burst` messages through at once, and then `rate` a second.

    Source: the token bucket of traffic shaping, as in RFC 2697.
    """

    __slots__ = ("_balance", "_stamp", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._balance = burst
        self._stamp = now

    def take(self, now: float) -> float:
        """Take a token: 0, or the seconds until there is one. Further messages drive the balance below zero."""
        balance = self._balance + (now - self._stamp) * self.rate
        self._balance = balance = (balance if balance < self.burst else self.burst) - 1
        self._stamp = now
        return 0.0 if balance >= 0 else (1 - balance) / self.rate

    @property
    def is_flooded(self) -> bool:
        """Whether the debt is as large as a burst: the client ignores the rate limit."""
        return self._balance <= -self.burst
