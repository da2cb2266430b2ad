import { describe, expect, it } from 'vitest';
import { format } from '/static/js/components/event_list.js';
import { readForm } from '/static/js/components/live_form.js';

/**
 * A form with one control, `field`, as far as readForm() looks at it.
 * @param {{ value?: string, type?: string, dataset?: object, validationMessage?: string, checked?: boolean }} control
 */
function read(control) {
    const whole = { name: 'field', value: '', dataset: {}, validationMessage: '', ...control };
    const dataset = { number: 'No number.', json: 'No JSON.', datetime: 'No such time.' };
    const form = /** @type {any} */ ({ dataset, querySelectorAll: () => [whole] });
    return readForm(form).field;
}

const list = (/** @type {string} */ value, /** @type {string} */ items) => ({
    value,
    dataset: { type: 'list', items },
});

describe('the values of a form', () => {
    it.each([
        ['text is as it was typed', { value: ' a\n ' }, ' a\n '],
        ['an empty one is left out', { dataset: { type: 'number' } }, undefined],
        ['a number', { value: '.5', dataset: { type: 'number' } }, 0.5],
        ['a decimal has its digits', { value: '1.10', dataset: { type: 'decimal' } }, '1.10'],
        ['a checkbox', { type: 'checkbox', value: 'on', checked: false }, false],
        ['a select of true and false', { value: 'false', dataset: { type: 'boolean' } }, false],
        ['a select of neither', { dataset: { type: 'boolean' } }, undefined],
        [
            'JSON',
            { value: '{"a": ["Infinity", -1]}', dataset: { type: 'json' } },
            { a: ['Infinity', -1] },
        ],
        ['null as JSON', { value: 'null', dataset: { type: 'json' } }, null],
        ['a list of strings', { value: 'a b \r\n\n c', dataset: { type: 'list' } }, ['a b', 'c']],
        ['a list of decimals', list('1.10\n2', 'decimal'), ['1.10', '2']],
        ['a list of booleans', list('true\nfalse', 'boolean'), [true, false]],
    ])('%s', (_, control, value) => {
        expect(read(control)).toEqual(value);
    });

    it.each([
        ['what the browser cannot read', { validationMessage: 'Half.' }, { field: 'Half.' }],
        ['a number too large', list('1\n1e400', 'number'), { 'field.1': 'No number.' }],
        ['a number in letters', list('one', 'number'), { 'field.0': 'No number.' }],
        ['no JSON', { value: '{', dataset: { type: 'json' } }, { field: 'No JSON.' }],
        ['JSON too large', { value: '[-1e400]', dataset: { type: 'json' } }, { field: 'No JSON.' }],
        ['a date without a time', list('2026-03-29', 'datetime'), { 'field.0': 'No such time.' }],
        ['without a text of its own', list('yes', 'boolean'), { 'field.0': 'boolean' }],
    ])('refuses %s', (_, control, fields) => {
        expect(() => read(control)).toThrow(expect.objectContaining({ data: { fields } }));
    });
});

describe('the texts of an event', () => {
    it.each([
        [null, '', 'en', '–'],
        [[], '', 'en', '–'],
        [1234.56789, '', 'de', '1.234,56789'],
        [1234, 'key', 'de', '1234'],
        ['1234567890123456789.10', 'decimal', 'de', '1.234.567.890.123.456.789,10'],
        ['2026-01-01', '', 'en', '2026-01-01'],
        ['2026-01-01', 'date', 'en-GB', '1 Jan 2026'],
        [['2026-01-01', '2026-12-31'], 'date', 'en-GB', '1 Jan 2026, 31 Dec 2026'],
        [{ a: [1] }, '', 'en', '{"a":[1]}'],
        [false, '', 'en', 'false'],
    ])('%j of type %j in %s', (value, type, language, text) => {
        expect(format(value, type, language)).toBe(text);
    });
});
