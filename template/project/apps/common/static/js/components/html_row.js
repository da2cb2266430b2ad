import { fill } from './event_list.js';
import { apply } from './fragments.js';

/** @type {WeakMap<Element, { html: string, names: string[] }>} what an element shows, and which attributes it got */
const drawn = new WeakMap();

/**
 * Draw a row by its `html`, which the template of its live model made: `new LiveRows(list, { draw: drawRow })`. What a
 * person typed or focused in it is kept. One that is still being added has no HTML, but `[data-field]`.
 * @param {Element} element
 * @param {Record<string, any>} row
 */
export function drawRow(element, row) {
    const { html } = row;
    const before = drawn.get(element);
    if (html === undefined) return fill(element, row);
    if (before?.html === html) return;
    const template = document.createElement('template');
    template.innerHTML = html;
    const next = template.content.firstElementChild;
    if (!next) return;
    const names = next.getAttributeNames();
    for (const name of before?.names ?? element.getAttributeNames())
        if (!names.includes(name)) element.removeAttribute(name);
    for (const name of names) element.setAttribute(name, `${next.getAttribute(name)}`);
    drawn.set(element, { html, names });
    if (element.innerHTML === next.innerHTML) return; // with which the page was rendered
    apply('update', element, next.innerHTML);
}
