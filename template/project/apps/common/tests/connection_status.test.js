import { beforeAll, describe, expect, it, vi } from 'vitest';

/** @typedef {typeof import('/static/js/components/connection_status.js')} Module */

describe('connection-status', () => {
    const define = vi.fn();
    /** @type {Module} */
    let module;

    beforeAll(async () => {
        // The module needs these of a browser when it is imported.
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
            ['error', { code: 4409, reason: '' }, 'This page was opened by another user.'],
        ]),
    )('%s with %o says %j', (status, facts, text) => {
        expect(module.describe(status, facts, module.textsOf({}))).toBe(text);
    });

    it('has the texts of the element, and its own for the others', () => {
        const texts = module.textsOf({ wait: 'noch {n} s', connected: 'Verbunden' });
        expect(texts).toMatchObject({ connected: 'Verbunden', error: 'Connection failed' });
        expect(module.describe('disconnected', { wait: 3_000 }, texts)).toBe('noch 3 s');
    });
});
