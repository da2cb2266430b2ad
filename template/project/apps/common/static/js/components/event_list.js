const MAX_ENTRIES = 200;

/** Types whose text differs in the language of the page. */
const FORMATS = /** @type {Record<string, (text: string, language?: string) => string>} */ ({
    date: (text, language) =>
        new Date(text).toLocaleDateString(language, { dateStyle: 'medium', timeZone: 'UTC' }),
    datetime: (text, language) =>
        new Date(text).toLocaleString(language, { dateStyle: 'medium', timeStyle: 'medium' }),
    decimal(text, language) {
        const places = text.split('.')[1]?.length ?? 0;
        const format = new Intl.NumberFormat(language, { minimumFractionDigits: places });
        return format.format(/** @type {any} */ (text)); // the text has all its digits
    },
});

/**
 * @param {unknown} value of a message
 * @param {string} [type] `date`, `datetime` or `decimal`; `key` for a number without grouping; other texts are shown as
 *     they are
 * @param {string} [language]
 * @returns {string}
 */
export function format(value, type = '', language) {
    if (value === undefined) return ''; // of a row that is being added, what its form lacks
    if (value === null) return '–';
    if (Array.isArray(value))
        return value.map((item) => format(item, type, language)).join(', ') || '–';
    if (typeof value === 'number' && type !== 'key')
        return value.toLocaleString(language, { maximumFractionDigits: 20 });
    if (typeof value === 'object') return JSON.stringify(value);
    return FORMATS[type]?.(`${value}`, language) ?? `${value}`;
}

/**
 * Show values in an element: each in its `[data-field]`, and an element with `data-when="status:new paid"` if a field
 * has one of these values. What is shown already stays as it is, selected text too.
 * @param {Element} element
 * @param {Record<string, any>} data
 */
export function fill(element, data) {
    for (const field of element.querySelectorAll('[data-field]')) show(field, data);
    for (const part of element.querySelectorAll('[data-when]')) {
        const [name, values = ''] = /** @type {any} */ (part).dataset.when.split(':');
        const isShown = values.split(' ').includes(`${data[name]?.key ?? data[name]}`);
        part.toggleAttribute('hidden', !isShown);
    }
}

/** @param {any} field @param {Record<string, any>} data */
function show(field, data) {
    const { type, field: name } = field.dataset;
    const value =
        type === 'related' ? data[name] && (data[name].label || data[name].key) : data[name];
    // A text of the page's own for true, false and the values of an enum: data-text-true="yes".
    const text =
        field.getAttribute(`data-text-${value}`) ??
        format(value, type, document.documentElement.lang || undefined);
    let target = field;
    if (type === 'datetime' && typeof value === 'string') {
        target = field.querySelector('time') ?? document.createElement('time');
        target.dateTime = value;
        if (!target.isConnected) field.replaceChildren(target);
    }
    if (target.textContent !== text) target.textContent = text;
}

/** Lists events, the newest first: each as the page's `<template data-event="name">` has it. */
export class EventList {
    /** @type {Element[]} the oldest first */
    #entries = [];

    /** @param {HTMLElement} element with the templates; `[data-empty]` beside it is shown until there is an event */
    constructor(element) {
        this.element = element;
        element.ariaLive ??= 'polite';
    }

    /**
     * @param {string} name
     * @param {Record<string, any>} data each value as the text of its `[data-field]`
     */
    add(name, data) {
        /** @type {HTMLTemplateElement | null} */
        const template = this.element.querySelector(`template[data-event="${name}"]`);
        const entry = /** @type {Element | undefined} */ (
            template?.content.firstElementChild?.cloneNode(true)
        );
        if (!entry) throw new Error(`The page has no <template data-event="${name}">.`);
        fill(entry, data);
        this.element.prepend(entry);
        if (this.#entries.push(entry) > MAX_ENTRIES) this.#entries.shift()?.remove();
        const empty = this.element.parentElement?.querySelector('[data-empty]');
        /** @type {HTMLElement | null | undefined} */ (empty)?.toggleAttribute('hidden', true);
    }
}
