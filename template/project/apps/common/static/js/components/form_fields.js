import { isDirty } from './page_reload.js';

/** @typedef {Record<string, any>} Row */

/** @param {any} value of a related object `{ key, label }`, or another @returns {any} what a message has for it */
export const plain = (value) => value?.key ?? value;

/** Of the browser's zone, as a control has it: YYYY-MM-DDTHH:MM:SS. @param {string} text of an instant */
function localTime(text) {
    const time = new Date(text);
    const minutes = time.getTimezoneOffset();
    return new Date(+time - minutes * 60_000).toJSON().slice(0, 19);
}

/** From a value in a message to the text of a control; others are as they are. */
const CONVERT = /** @type {Record<string, (value: any) => string>} */ ({
    json: JSON.stringify,
    datetime: localTime,
});

/** @param {DOMStringMap} dataset of the control @param {any} value @returns {string} */
function textOf({ type = '', items = '' }, value) {
    if (value === null || value === undefined) return '';
    if (type === 'list')
        return value.map((/** @type {any} */ item) => textOf({ type: items }, item)).join('\n');
    return CONVERT[type]?.(value) ?? `${plain(value)}`;
}

/**
 * Show a value in a control, unless a person changed it or is in it.
 * @param {any} control
 * @param {any} value as a message has it
 * @returns {boolean} whether it is shown
 */
export function follow(control, value) {
    if (control === document.activeElement || isDirty(control)) return false;
    const text = textOf(control.dataset, value);
    if (control.options) choose(control, text, value?.label);
    else if (control.type === 'checkbox') control.checked = control.defaultChecked = value;
    else if (control.type === 'radio')
        control.checked = control.defaultChecked = control.value === text;
    else {
        control.value = control.type === 'time' ? text.slice(0, 8) : text; // HH:MM:SS
        control.defaultValue = control.value; // as the browser has it: without line breaks, for example
    }
    return true;
}

/** @param {HTMLSelectElement} control @param {string} text @param {string} [label] of an object it does not offer */
function choose(control, text, label = text) {
    const isOffered = [...control.options].some(({ value }) => value === text);
    if (text && !isOffered) control.add(new Option(label, text));
    for (const option of control.options)
        option.selected = option.defaultSelected = option.value === text;
}

/** @param {HTMLFormElement} form @param {Row} row @returns {any[]} of the row's fields */
export const controlsOf = (form, row) =>
    [...form.elements].filter((/** @type {any} */ { name }) => name in row);

/**
 * A row as the list shows it once these values are saved.
 * @param {HTMLFormElement} form
 * @param {Row} data of the form
 * @returns {Row}
 */
export function rowOf(form, data) {
    const controls = /** @type {any[]} */ ([...form.elements]).filter(({ name }) => name);
    const values = controls.map(({ name, dataset, selectedOptions }) => {
        const value = data[name] ?? null;
        const isRelated = dataset.related !== undefined && value !== null;
        return [name, isRelated ? { key: value, label: selectedOptions[0].text } : value];
    });
    return Object.fromEntries(values);
}
