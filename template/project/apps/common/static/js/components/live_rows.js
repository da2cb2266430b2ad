import { fill } from './event_list.js';
import { follow, plain } from './form_fields.js';
import { hasInput } from './page_reload.js';

const MEANWHILE = 'data-changed-meanwhile';
const UNKNOWN = ['connection_lost', 'timeout']; // codes of a request that may have been handled
const WAIT = 2_000; // ms that a confirmed change is shown until its event arrives

/** @typedef {Record<string, any>} Row */
/** @typedef {{ row?: Row, isAnswered?: boolean, isSeen?: boolean }} Change shown above the row until it is confirmed */
/** @typedef {{ element: HTMLElement, row?: Row, changes: Set<Change> }} Entry without a row: not confirmed yet */

/**
 * A list of rows with keys, each as the list's `<template data-row>` has it. A row keeps its element, and so the focus,
 * a selection, what is typed and what is scrolled. After each change the list gets the event `rowchange`.
 */
export class LiveRows {
    /** @type {Map<any, Entry>} by key */
    #entries = new Map();
    /** @type {Set<Entry>} that have no key yet: they are before the template or last, the confirmed rows after it */
    #added = new Set();
    /** @type {Map<string | undefined, HTMLElement>} by key: the rows with which the page was rendered */
    #rendered = new Map();
    /** @type {HTMLTemplateElement} */
    #template;

    /**
     * @param {HTMLElement} element `[data-empty]` beside it is shown while there is no row; its `data-unconfirmed` is
     *     the text for a change whose answer was lost; with `data-newest="last"` an added row is shown at the end
     * @param {{ key?: string, draw?: typeof fill }} [options] the field that is the key; how an element shows a row
     */
    constructor(element, { key = 'id', draw = fill } = {}) {
        this.element = element;
        this.key = key;
        this.draw = draw;
        /** @type {NodeListOf<HTMLElement>} */
        const rendered = element.querySelectorAll(':scope > [data-key]');
        for (const row of rendered) this.#rendered.set(row.dataset.key, row);
        this.#template = /** @type {any} */ (element.querySelector('template[data-row]'));
    }

    /** @param {any} key @returns {Row | undefined} */
    get(key) {
        return this.#entries.get(key)?.row;
    }

    /** @param {Node} node within a row, such as a button @returns {Row | undefined} */
    of(node) {
        return [...this.#entries.values()].find(({ element }) => element.contains(node))?.row;
    }

    /**
     * Call back for each click on a row's button; of a double click for the first.
     * @param {string} selector of the buttons
     * @param {(row: Row, button: Element) => void} callback
     */
    onClick(selector, callback) {
        this.element.addEventListener('click', ({ target, detail }) => {
            if (detail > 1) return; // of a double click: by now another row or button may be there
            const button = /** @type {Element} */ (target).closest(selector);
            const row = button && this.of(button);
            if (row) callback(row, button);
        });
    }

    /** Show these rows, in this order, and no others. @param {Row[]} rows */
    replace(rows) {
        const keys = new Set(rows.map((row) => row[this.key]));
        for (const key of this.#entries.keys()) if (!keys.has(key)) this.remove(key);
        let next = this.#template.nextElementSibling;
        const changed = [];
        for (const row of rows) {
            const { element, isChanged } = this.#put(row);
            if (isChanged) changed.push(row);
            if (element === next?.nextElementSibling) next = element; // the one between moves instead
            if (element === next) next = element.nextElementSibling;
            else this.#place(element, next);
        }
        for (const row of this.#rendered.values()) row.remove(); // deleted since then
        this.#rendered.clear();
        this.element.ariaBusy = null;
        this.#update();
        for (const row of changed) this.#notify(row[this.key], row);
    }

    /** Add or change a row. @param {Row} row `after`: the key of the row before it, null for the first */
    save({ after, ...row }) {
        const { element, isChanged } = this.#put(row);
        const previous = after === null ? this.#template : this.#entries.get(after)?.element;
        // After an unknown row: where it is, or last.
        const here = element.isConnected ? element : null;
        const next = previous ? previous.nextElementSibling : here;
        if (next !== element) this.#place(element, next);
        if (isChanged) this.#notify(row[this.key], row);
    }

    /** @param {any} key */
    remove(key) {
        const element = this.#entries.get(key)?.element;
        if (!element) return;
        this.#entries.delete(key);
        const others = [element.nextElementSibling, element.previousElementSibling, this.element];
        const other = others.find(
            (node) => node && node !== this.#template && !('inert' in node && node.inert),
        );
        const hadFocus = element.contains(document.activeElement);
        element.remove();
        if (hadFocus) focus(other);
        this.#notify(key);
        this.#update();
    }

    focus() {
        focus(this.element);
    }

    /**
     * Show a change until it is answered and its event has arrived; without it again if it is refused.
     * @template T
     * @param {Promise<T>} answer
     * @param {Row} [row] the fields that it changes
     * @param {any} [key] of the row; without one it is a new row
     * @returns {Promise<T>} the answer; an error whose outcome is unknown has the text of `data-unconfirmed`
     */
    async pending(answer, row, key) {
        const entry = key === undefined ? this.#add() : this.#entries.get(key);
        if (!entry) return answer; // the row is gone
        const change = { row };
        entry.changes.add(change);
        this.#show(entry);
        try {
            const result = await answer;
            this.#confirm(entry, change, /** @type {any} */ (result)?.data?.[this.key]);
            return result;
        } catch (/** @type {any} */ error) {
            this.#drop(entry, change);
            const { unconfirmed } = this.element.dataset;
            if (unconfirmed && UNKNOWN.includes(error.code)) error.message = unconfirmed;
            throw error;
        }
    }

    /** @param {Row} row @returns its element, which may be new, and whether it shows other values now */
    #put(row) {
        const key = row[this.key];
        const entry = this.#entries.get(key) ?? this.#claim(row) ?? this.#make(`${key}`);
        const isChanged = JSON.stringify(entry.row) !== JSON.stringify(row);
        this.#entries.set(key, entry);
        this.#added.delete(entry);
        entry.row = row;
        for (const change of entry.changes) {
            change.isSeen = true;
            if (change.isAnswered) entry.changes.delete(change);
        }
        const { element } = entry;
        if (isChanged && isEdited(element)) element.toggleAttribute(MEANWHILE, true);
        this.#show(entry);
        return { element, isChanged };
    }

    /** The added row whose event this is: with all the values that were sent. @param {Row} row */
    #claim(row) {
        return [...this.#added].find(({ changes: [change] }) =>
            Object.entries(change.row ?? {}).every(
                ([name, value]) => `${plain(row[name]) ?? ''}` === `${plain(value) ?? ''}`,
            ),
        );
    }

    /** @param {string} [key] @returns {Entry} */
    #make(key) {
        const element = /** @type {any} */ (
            this.#rendered.get(key) ?? this.#template.content.firstElementChild?.cloneNode(true)
        );
        this.#rendered.delete(key);
        const entry = { element, changes: new Set() };
        const settle = async () => {
            await null; // a reset follows its event
            if (!isEdited(element)) element.removeAttribute(MEANWHILE);
            this.#show(entry);
        };
        for (const event of ['focusout', 'reset']) element.addEventListener(event, settle);
        return entry;
    }

    /** @returns {Entry} of a row without a key */
    #add() {
        const entry = this.#make();
        this.#added.add(entry);
        if (this.element.dataset.newest === 'last') this.element.append(entry.element);
        else this.#template.before(entry.element);
        return entry;
    }

    /** @param {Entry} entry */
    #show({ element, row, changes }) {
        const shown = Object.assign({}, row, ...[...changes].map((change) => change.row));
        this.draw(element, shown);
        for (const control of element.querySelectorAll('[name]')) {
            const { name } = /** @type {any} */ (control);
            if (name in shown) follow(control, shown[name]);
        }
        element.ariaBusy = [...changes].some(({ isAnswered }) => !isAnswered) ? 'true' : null;
        element.inert = !row;
        this.#update();
    }

    /**
     * @param {Entry} entry
     * @param {Change} change
     * @param {any} key of the answer
     */
    #confirm(entry, change, key) {
        change.isAnswered = true;
        const isKnown = key === undefined || this.#entries.has(key);
        if (!isKnown && this.#added.delete(entry)) this.#entries.set(key, entry);
        if (change.isSeen || this.#added.has(entry)) return this.#drop(entry, change);
        this.#show(entry);
        setTimeout(() => this.#drop(entry, change), WAIT);
    }

    /** @param {Entry} entry @param {Change} change */
    #drop(entry, change) {
        entry.changes.delete(change);
        if (entry.row) return this.#show(entry);
        this.#added.delete(entry);
        for (const [key, other] of this.#entries) if (other === entry) this.#entries.delete(key);
        entry.element.remove();
        this.#update();
    }

    /** @param {HTMLElement} element @param {Element | null} next */
    #place(element, next) {
        const list = /** @type {any} */ (this.element);
        // Moved without being removed, it keeps its focus and what is scrolled; not every browser can.
        if (element.isConnected && list.moveBefore) return list.moveBefore(element, next);
        const focused = element.contains(document.activeElement) && document.activeElement;
        list.insertBefore(element, next);
        if (focused) focus(focused);
    }

    #update() {
        const empty = this.element.parentElement?.querySelector('[data-empty]');
        empty?.toggleAttribute('hidden', this.#entries.size + this.#added.size > 0);
    }

    /** @param {any} key @param {Row} [row] none if it is gone */
    #notify(key, row) {
        this.element.dispatchEvent(new CustomEvent('rowchange', { detail: { key, row } }));
    }
}

/** Whether a person changed a control of it, or is in one. @param {Element} element */
function isEdited(element) {
    return hasInput(element) || !!element.querySelector(':is(input, select, textarea):focus');
}

/** @param {any} element */
function focus(element) {
    if (element.tabIndex < 0) element.tabIndex = -1; // not in the order of tabs, but focusable
    element.focus({ preventScroll: true });
}
