import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Heartbeat } from '/static/js/services/websocket/heartbeat.js';

const hooks = { ping: vi.fn(), onSilence: vi.fn(), onLatency: vi.fn() };

describe('Heartbeat', () => {
    /** @type {Heartbeat} */
    let heartbeat;

    beforeEach(() => {
        vi.useFakeTimers();
        vi.clearAllMocks();
        heartbeat = new Heartbeat(5_000, hooks);
    });
    afterEach(() => void vi.useRealTimers());

    it('pings at each interval while answers come', () => {
        hooks.ping.mockImplementation(() => heartbeat.received());
        heartbeat.start(25_000);
        vi.advanceTimersByTime(100_000);
        expect(hooks.ping).toHaveBeenCalledTimes(4);
        expect(hooks.onSilence).not.toHaveBeenCalled();
        hooks.ping.mockReset();
    });

    it('reports silence once the time for an answer is over', () => {
        heartbeat.start(25_000);
        vi.advanceTimersByTime(29_999);
        expect(hooks.onSilence).not.toHaveBeenCalled();
        vi.advanceTimersByTime(1);
        expect(hooks.onSilence).toHaveBeenCalledOnce();
    });

    it('reports silence though the interval is shorter than that time', () => {
        heartbeat.start(2_000);
        vi.advanceTimersByTime(7_000);
        expect(hooks.ping).toHaveBeenCalledOnce();
        expect(hooks.onSilence).toHaveBeenCalledOnce();
    });

    it('takes any frame for an answer', () => {
        heartbeat.probe();
        heartbeat.received();
        vi.advanceTimersByTime(60_000);
        expect(hooks.onSilence).not.toHaveBeenCalled();
    });

    it('measures from ping to pong', () => {
        heartbeat.probe();
        vi.advanceTimersByTime(42);
        heartbeat.pong();
        expect(hooks.onLatency).toHaveBeenCalledWith(42);
    });

    it('asks once more when its timer was held back, and then believes it', () => {
        heartbeat.probe();
        sleep(60_000);
        vi.advanceTimersByTime(5_000);
        expect(hooks.onSilence).not.toHaveBeenCalled();
        expect(hooks.ping).toHaveBeenCalledTimes(2);
        sleep(60_000);
        vi.advanceTimersByTime(5_000);
        expect(hooks.onSilence).toHaveBeenCalledOnce();
    });

    it('leaves no timer when it stops', () => {
        heartbeat.start(25_000);
        heartbeat.probe();
        expect(vi.getTimerCount()).toBe(2);
        heartbeat.stop();
        expect(vi.getTimerCount()).toBe(0);
    });

    it('never beats at an interval of 0', () => {
        heartbeat.start(0);
        expect(vi.getTimerCount()).toBe(0);
    });
});

/** Let the clock go on and the timers not, as on a machine that sleeps. @param {number} ms */
function sleep(ms) {
    vi.setSystemTime(Date.now() + ms);
}
