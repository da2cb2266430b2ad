import { beforeEach, describe, expect, it, vi } from 'vitest';
import { mayReload } from '/static/js/components/page_reload.js';

/** @type {Map<string, string>} of the tab */
let stored;
/** @type {any[]} of the page */
let fields;

beforeEach(() => {
    stored = new Map();
    fields = [];
    vi.useFakeTimers();
    vi.stubGlobal('document', { querySelectorAll: () => fields });
    vi.stubGlobal('sessionStorage', {
        getItem: (/** @type {string} */ key) => stored.get(key) ?? null,
        setItem: (/** @type {string} */ key, /** @type {string} */ value) => stored.set(key, value),
    });
    return () => {
        vi.useRealTimers();
        vi.unstubAllGlobals();
    };
});

const reloads = () => Array.from({ length: 5 }, mayReload).filter(Boolean).length;

/** @param {[selected: boolean, defaultSelected: boolean][]} all */
const select = (...all) => {
    const options = all.map(([selected, defaultSelected]) => ({ selected, defaultSelected }));
    return { options, selectedIndex: options.findIndex(({ selected }) => selected) };
};

describe('a page reloads itself', () => {
    it('three times in a minute, and again after it', () => {
        expect(reloads()).toBe(3);
        vi.advanceTimersByTime(59_000);
        expect(reloads()).toBe(0);
        vi.advanceTimersByTime(1_000);
        expect(reloads()).toBe(3);
    });

    it('once for each contract that is outdated', () => {
        expect(['a:1', 'a:1', 'a:2', 'a:1'].map(mayReload)).toEqual([true, false, true, false]);
    });

    it('for a contract, too, only as often as for anything else', () => {
        expect(['a:1', 'a:2', 'a:3', 'a:4'].map(mayReload)).toEqual([true, true, true, false]);
    });

    it('never where its reloads cannot be counted', () => {
        vi.stubGlobal('sessionStorage', undefined);
        expect(reloads()).toBe(0);
    });

    it('never where the count is damaged', () => {
        stored.set('websocket-reloads', '{}');
        expect(reloads()).toBe(0);
    });

    it.each([
        ['a text', { type: 'text', value: 'a', defaultValue: '' }, 0],
        ['an untouched text', { type: 'text', value: 'a', defaultValue: 'a' }, 3],
        [
            'a box',
            {
                type: 'checkbox',
                value: 'on',
                defaultValue: 'on',
                checked: true,
                defaultChecked: false,
            },
            0,
        ],
        [
            'an untouched box',
            {
                type: 'checkbox',
                value: 'on',
                defaultValue: 'on',
                checked: true,
                defaultChecked: true,
            },
            3,
        ],
        ['a choice', select([false, true], [true, false]), 0],
        ['a choice without a default', select([false, false], [true, false]), 0],
        ['an untouched choice', select([false, false], [true, true]), 3],
        ['an untouched choice without a default', select([true, false], [false, false]), 3],
        ['one of several choices', { ...select([true, false]), multiple: true }, 0],
        ['untouched choices', { ...select([false, false], [true, true]), multiple: true }, 3],
        ['an editor', { isContentEditable: true, textContent: 'a' }, 0],
        ['an empty editor', { isContentEditable: true, textContent: ' ' }, 3],
        [
            'a component',
            {
                shadowRoot: {
                    querySelectorAll: () => [{ type: 'text', value: 'a', defaultValue: '' }],
                },
            },
            0,
        ],
        ['a slider', { type: 'range', value: '50', defaultValue: '' }, 3],
    ])('unless something was entered: %s', (_, field, count) => {
        fields = [{ type: 'text', value: '', defaultValue: '' }, field];
        expect(reloads()).toBe(count);
    });
});
