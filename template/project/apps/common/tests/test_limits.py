from apps.common.websockets.connection.rate_limit import TokenBucket


def test_a_burst_passes_at_once_and_no_more():
    bucket = TokenBucket(rate=10, burst=3, now=0)
    assert [bucket.take(0) == 0 for _ in range(4)] == [True, True, True, False]


def test_a_message_after_the_stated_wait_passes():
    bucket = TokenBucket(rate=10, burst=1, now=0)
    bucket.take(0)
    wait = bucket.take(0)
    assert wait == 0.2  # 0.1 for each of the two that were refused or wait
    assert bucket.take(wait) == 0


def test_who_waits_less_does_not_pass():
    bucket = TokenBucket(rate=10, burst=1, now=0)
    bucket.take(0)
    assert bucket.take(bucket.take(0) * 0.9) > 0


def test_a_steady_rate_passes_for_ever():
    bucket = TokenBucket(rate=8, burst=1, now=0)
    assert all(bucket.take(n / 8) == 0 for n in range(1_000))


def test_idle_time_saves_no_more_than_a_burst():
    bucket = TokenBucket(rate=10, burst=2, now=0)
    assert [bucket.take(1_000) == 0 for _ in range(3)] == [True, True, False]


def test_as_many_refusals_as_a_burst_are_a_flood():
    bucket = TokenBucket(rate=10, burst=2, now=0)
    floods = []
    for _ in range(4):
        bucket.take(0)
        floods.append(bucket.is_flooded)
    assert floods == [False, False, False, True]
