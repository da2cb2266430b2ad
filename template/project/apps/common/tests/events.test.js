import { afterEach, describe, expect, it, vi } from 'vitest';
import { Events } from '/static/js/services/websocket/events.js';

describe('Events', () => {
    afterEach(() => void vi.restoreAllMocks());

    it('calls each listener with all arguments', () => {
        const events = new Events();
        const listener = vi.fn();
        events.on('orderPlaced', listener);
        events.emit('orderPlaced', 1, 2);
        expect(listener.mock.calls).toEqual([[1, 2]]);
    });

    it('calls a listener no more once it is undone', () => {
        const events = new Events();
        const [first, second] = [vi.fn(), vi.fn()];
        const undo = events.on('orderPlaced', first);
        events.on('orderPlaced', second);
        undo();
        events.off('orderPlaced', second);
        events.emit('orderPlaced');
        expect([first, second].map((listener) => listener.mock.calls.length)).toEqual([0, 0]);
    });

    it('reports what a listener throws, and calls the next', () => {
        const report = vi.spyOn(console, 'error').mockImplementation(() => {});
        const events = new Events();
        const fault = new Error('of a listener');
        const next = vi.fn();
        events.on('orderPlaced', () => {
            throw fault;
        });
        events.on('orderPlaced', next);
        events.emit('orderPlaced');
        expect(report).toHaveBeenCalledWith(fault);
        expect(next).toHaveBeenCalledOnce();
    });

    it('calls the listeners that were there, though one undoes itself', () => {
        const events = new Events();
        const next = vi.fn();
        const undo = events.on('orderPlaced', () => undo());
        events.on('orderPlaced', next);
        events.emit('orderPlaced');
        expect(next).toHaveBeenCalledOnce();
    });

    it('logs an error without a listener, and no other event', () => {
        const log = vi.spyOn(console, 'error').mockImplementation(() => {});
        const events = new Events();
        const error = new Error('unheard');
        events.emit('orderPlaced');
        events.emit('error', error);
        expect(log.mock.calls).toEqual([[error]]);
    });

    it('leaves an error to those who listen', () => {
        const log = vi.spyOn(console, 'error').mockImplementation(() => {});
        const events = new Events();
        const listener = vi.fn();
        events.on('error', listener);
        events.emit('error', new Error('refused'));
        expect(listener).toHaveBeenCalledOnce();
        expect(log).not.toHaveBeenCalled();
    });
});
