import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Outbox } from '/static/js/services/websocket/outbox.js';

const onExpired = vi.fn();

/** @param {string} text */
const unsent = (text) => ({ message: {}, text });

describe('Outbox', () => {
    /** @type {Outbox} */
    let outbox;
    const texts = () => outbox.take().map(({ text }) => text);

    beforeEach(() => {
        vi.useFakeTimers();
        vi.clearAllMocks();
        outbox = new Outbox({ queueLimit: 2, queueTtl: 30_000 }, onExpired);
    });
    afterEach(() => void vi.useRealTimers());

    it('gives back what it took, in order and once', () => {
        outbox.add(unsent('a'));
        outbox.add(unsent('b'));
        expect([texts(), texts()]).toEqual([['a', 'b'], []]);
    });

    it('is full at its limit', () => {
        expect(['a', 'b', 'c'].map((text) => outbox.add(unsent(text)))).toEqual([
            true,
            true,
            false,
        ]);
        expect(texts()).toEqual(['a', 'b']);
    });

    it('reports each message when its own time is over', () => {
        outbox.add(unsent('a'));
        vi.advanceTimersByTime(20_000);
        outbox.add(unsent('b'));
        vi.advanceTimersByTime(10_000);
        expect(onExpired.mock.calls.map(([{ text }]) => text)).toEqual(['a']);
        vi.advanceTimersByTime(20_000);
        expect(onExpired.mock.calls.map(([{ text }]) => text)).toEqual(['a', 'b']);
    });

    it('gives back nothing too old, even if its timer was held back', () => {
        outbox.add(unsent('a'));
        vi.setSystemTime(Date.now() + 30_000);
        expect(texts()).toEqual([]);
        expect(onExpired).toHaveBeenCalledOnce();
    });

    it('leaves no timer when it is empty', () => {
        outbox.add(unsent('a'));
        expect(vi.getTimerCount()).toBe(1);
        outbox.take();
        expect(vi.getTimerCount()).toBe(0);
    });
});
