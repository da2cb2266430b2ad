import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Backoff } from '/static/js/services/websocket/backoff.js';

const LIMITS = { maxAttempts: 5, minDelay: 1_000, maxDelay: 30_000, stableAfter: 5_000 };

/** @param {Backoff} backoff */
const delays = (backoff) => Array.from({ length: 6 }, () => backoff.next());

describe('Backoff', () => {
    beforeEach(() => void vi.useFakeTimers());
    afterEach(() => {
        vi.useRealTimers();
        vi.restoreAllMocks();
    });

    it('doubles the delay, and gives up after the last attempt', () => {
        vi.spyOn(Math, 'random').mockReturnValue(1);
        expect(delays(new Backoff(LIMITS))).toEqual([1000, 2000, 4000, 8000, 16000, undefined]);
    });

    it('keeps half of each delay whatever the dice say', () => {
        vi.spyOn(Math, 'random').mockReturnValue(0);
        expect(delays(new Backoff(LIMITS))).toEqual([500, 1000, 2000, 4000, 8000, undefined]);
    });

    it('waits no longer than the limit', () => {
        vi.spyOn(Math, 'random').mockReturnValue(1);
        const backoff = new Backoff({ ...LIMITS, maxDelay: 3_000 });
        expect(delays(backoff)).toEqual([1000, 2000, 3000, 3000, 3000, undefined]);
    });

    it.each([
        [0, 30_000],
        [0.5, 60_000],
        [1, 90_000],
    ])('probes on after the last attempt where that is asked for: %d, %d ms', (random, delay) => {
        vi.spyOn(Math, 'random').mockReturnValue(random);
        const backoff = new Backoff({ ...LIMITS, probeDelay: 60_000 });
        expect(Array.from({ length: 8 }, () => backoff.next()).slice(5)).toEqual(
            Array(3).fill(delay),
        );
        expect(backoff.attempt).toBe(5);
    });

    it('counts on after a connection that was not stable', () => {
        const backoff = new Backoff(LIMITS);
        backoff.next();
        backoff.opened();
        vi.advanceTimersByTime(4_999);
        backoff.next();
        expect(backoff.attempt).toBe(2);
    });

    it('counts from one again after a stable connection', () => {
        const backoff = new Backoff(LIMITS);
        backoff.next();
        backoff.opened();
        vi.advanceTimersByTime(5_000);
        backoff.next();
        expect(backoff.attempt).toBe(1);
    });

    it('counts on after attempts that never connected, however long they took', () => {
        const backoff = new Backoff(LIMITS);
        backoff.opened();
        backoff.next();
        vi.advanceTimersByTime(60_000);
        backoff.next();
        expect(backoff.attempt).toBe(2);
    });

    it('spreads the first return after a restart wide, and only that', () => {
        vi.spyOn(Math, 'random').mockReturnValue(1);
        const backoff = new Backoff(LIMITS);
        expect([backoff.next(1012), backoff.next(1012)]).toEqual([10_500, 2_000]);
    });
});
