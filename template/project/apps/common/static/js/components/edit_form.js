import { fill } from './event_list.js';
import { controlsOf, follow, plain, rowOf } from './form_fields.js';
import { LiveForm } from './live_form.js';
import { isDirty } from './page_reload.js';

/** @typedef {import('./form_fields.js').Row} Row */

/** @param {any} one @param {any} other */
const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** A dialog with the form that changes a row. Fields that a person has not changed follow the row. */
export class EditForm {
    /** @type {Row} of the fields, the values from which a person started */
    #opened = {};
    /** @type {any} */
    #key;
    #isSending = false;

    /**
     * @param {HTMLDialogElement} dialog with one form; its [data-changed] or [data-deleted] is shown if the row was
     * @param {import('./live_rows.js').LiveRows} rows
     * @param {(data: any) => Promise<unknown>} send the fields, the key, and `opened`
     */
    constructor(dialog, rows, send) {
        this.dialog = dialog;
        this.rows = rows;
        this.form = /** @type {HTMLFormElement} */ (dialog.querySelector('form'));
        new LiveForm(this.form, (data) => this.#save(data, send));
        rows.element.addEventListener('rowchange', (event) =>
            this.#follow(/** @type {CustomEvent} */ (event).detail),
        );
        dialog.addEventListener('click', ({ target }) => {
            if (/** @type {Element} */ (target).closest('[data-close]')) dialog.close();
        });
        // The button that opened it may be gone.
        dialog.addEventListener('close', () => {
            if (document.activeElement === document.body) rows.focus();
        });
    }

    /** @param {Row} row */
    open(row) {
        this.#key = row[this.rows.key];
        this.form.reset();
        this.#opened = {};
        this.#show(row);
        this.#note('changed', false);
        this.#note('deleted', false);
        fill(this.dialog, row);
        this.dialog.showModal();
    }

    /** @param {Row} row */
    #show(row) {
        for (const control of controlsOf(this.form, row))
            if (follow(control, row[control.name])) this.#opened[control.name] = row[control.name];
    }

    /** @param {{ key: any, row?: Row }} change */
    #follow({ key, row }) {
        if (key !== this.#key || !this.dialog.open) return;
        if (!row) return this.#note('deleted', true);
        const isChanged = Object.keys(this.#opened).some(
            (name) => !isSame(this.#opened[name], row[name]),
        );
        if (isChanged && !this.#isSending) this.#note('changed', true);
        this.#show(row);
    }

    /** @param {string} name @param {boolean} isShown */
    #note(name, isShown) {
        this.dialog.querySelector(`[data-${name}]`)?.toggleAttribute('hidden', !isShown);
    }

    /** @param {Row} data @param {(data: any) => Promise<unknown>} send */
    async #save(data, send) {
        const values = this.#valuesOf(data);
        const message = { ...values, [this.rows.key]: this.#key, opened: this.#opened };
        this.#isSending = true;
        try {
            await this.rows.pending(send(message), rowOf(this.form, values), this.#key);
            this.dialog.close();
        } catch (/** @type {any} */ error) {
            // The person has seen the values at the fields: the next attempt starts from them.
            if (error.code === 'conflict') this.#accept();
            throw error;
        } finally {
            this.#isSending = false;
        }
    }

    #accept() {
        const row = this.rows.get(this.#key);
        for (const name in this.#opened) if (row) this.#opened[name] = row[name];
    }

    /** Controls may show less than a value has, such as microseconds: an unchanged field keeps its own. @param {Row} data */
    #valuesOf(data) {
        const values = { ...data };
        for (const control of controlsOf(this.form, this.#opened)) {
            const value = plain(this.#opened[control.name]);
            if (isDirty(control)) continue;
            if (value === null || value === '') delete values[control.name];
            else values[control.name] = value;
        }
        return values;
    }
}
