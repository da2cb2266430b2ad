import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';

/** @typedef {typeof import('/static/js/components/connection_status.js')} Module */

describe('connection-status', () => {
    const define = vi.fn();
    /** @type {Module} */
    let module;

    beforeAll(async () => {
        // What the module needs of a browser when it is imported.
        vi.stubGlobal('HTMLElement', class {});
        vi.stubGlobal('customElements', { define });
        module = await import('/static/js/components/connection_status.js');
        return () => void vi.unstubAllGlobals();
    });

    it('is defined once it is imported', () => {
        expect(define.mock.calls).toEqual([['connection-status', module.ConnectionStatus]]);
    });

    it.each(
        /** @type {const} */ ([
            ['connected', { latency: 12.4 }, '12 ms'],
            ['connected', {}, ''],
            ['connecting', { latency: 12.4 }, ''],
            ['disconnected', { wait: 1_001 }, 'next attempt in 2 s'],
            ['disconnected', { wait: 0 }, 'next attempt in 0 s'],
            ['disconnected', {}, ''],
            ['error', { reason: 'Not signed in.' }, 'Not signed in.'],
            ['error', {}, ''],
        ]),
    )('%s with %o says %j', (status, facts, text) => {
        expect(module.describe(status, facts)).toBe(text);
    });

    it('speaks the words of the page', () => {
        const { wait } = module.WORDS;
        onTestFinished(() => void Object.assign(module.WORDS, { wait }));
        module.WORDS.wait = (seconds) => `noch ${seconds} s`;
        expect(module.describe('disconnected', { wait: 3_000 })).toBe('noch 3 s');
    });
});
