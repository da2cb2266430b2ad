/** @typedef {Record<string, string>} Errors texts for people, by dotted path within the message: `tags.0` */
/** @typedef {[control: any, note: HTMLElement, text: string]} Entry `text` is the note's without an error */

/**
 * The controls that have a value: typed any, since they are inputs, selects and textareas.
 * @param {HTMLFormElement} form
 * @returns {Iterable<any>}
 */
const controlsOf = (form) =>
    form.querySelectorAll(':enabled[name]:not(button,[type=radio]:not(:checked))');

/** The items of a list, one a line. @param {string} value @returns {string[]} */
const linesOf = (value) => value.match(/\S(.*\S)?/g) ?? [];

// From the text of a control or an item to its value in a message. They throw if it is not of that type.

/** Infinity (1e400) is refused: it would be sent as null. @param {string | number} text */
const number = (text) => JSON.parse(`${+text}`);

/** @param {string} text */
const json = (text) => JSON.parse(text, (_, value) => (value === +value ? number(value) : value));

/** Of the browser's zone; of two such times the first. @param {string} text YYYY-MM-DDTHH:MM */
const datetime = (text) => {
    const time = new Date(text);
    // A time that clocks skip is another one in Date: `Sun Mar 29 2026 03:30:00 GMT+0200` for 02:30.
    if (!`${time}`.includes(` ${text.slice(11, 16)}:`)) throw text;
    return time.toJSON();
};

/** Other types are strings, which the server judges. @type {Record<string, (text: string) => unknown>} */
const CONVERT = { number, boolean: json, json, datetime };

/**
 * The values of a form's controls as a message has them; empty ones are left out.
 * @param {HTMLFormElement} form
 * @throws {{ data: { fields: Errors } }} what the server throws, too, with the browser's own texts
 */
export function readForm(form) {
    /** @type {Record<string, unknown>} */
    const data = {};
    /** @type {Errors | undefined} */
    let fields;
    const controls = controlsOf(form);
    // `problem`: the browser has no value for what it cannot read, such as half a date.
    for (let { name, value, type, checked, dataset, validationMessage: problem } of controls) {
        const kind = dataset.items ?? dataset.type;
        const convert = CONVERT[kind] ?? String;
        let path = name;
        try {
            if (type === 'checkbox') data[name] = checked;
            else if (value && !problem)
                data[name] =
                    dataset.type === 'list'
                        ? linesOf(value).map((text, i) => {
                              path = `${name}.${i}`;
                              return convert(text);
                          })
                        : convert(value);
        } catch {
            problem = form.dataset[kind] ?? kind;
        }
        if (problem) fields = { ...fields, [path]: problem };
    }
    if (fields) throw { data: { fields } };
    return data;
}

/** @param {any} [role] */
const makeNote = (role) => {
    const note = document.createElement('small');
    note.role = role;
    return note;
};

/** Sends a form's values, and shows at its fields why some are refused. */
export class LiveForm {
    /**
     * @param {HTMLFormElement} form with the texts of `{% form_texts %}`
     * @param {(data: any) => Promise<unknown>} send rejects with an error whose `data.fields` may be Errors
     */
    constructor(form, send) {
        const done = makeNote('status');
        const alert = makeNote('alert');
        /** @type {Record<string, Entry>} by the control's name */
        const entries = {};
        for (const control of controlsOf(form)) {
            const note = makeNote();
            note.id = `${control.id}-note`;
            control.after(note);
            control.setAttribute(
                'aria-describedby',
                [note.id, control.getAttribute('aria-describedby')].join(' '),
            );
            entries[control.name] = [
                control,
                note,
                /datetime/.test(/** @type {any} */ (Object.values(control.dataset)))
                    ? Intl.DateTimeFormat().resolvedOptions().timeZone
                    : '',
            ];
        }

        /** @param {Errors} [errors] */
        const show = (errors) => {
            alert.textContent = done.textContent = '';
            for (const [control, note, text] of Object.values(entries)) {
                control.ariaInvalid = null;
                note.textContent = text;
            }
            for (const path in errors) {
                const [name, i] = path.split('.');
                const [control, note] = entries[name] ?? [{}, alert];
                const prefix = control.name ? linesOf(control.value)[/** @type {any} */ (i)] : path;
                control.ariaInvalid = 'true';
                note.append(prefix ? ` ${prefix}: ` : ' ', errors[path]);
            }
            /** @type {HTMLElement | null} not if somebody types elsewhere by now */
            const first = form.querySelector('form:focus-within [aria-invalid]');
            first?.focus();
        };

        /** @type {HTMLElement | null} while the form is being sent */
        let button;
        /** @type {boolean} */
        let isChanged;
        form.noValidate = true; // the browser's messages are shown at the fields, too
        form.append(done, alert);
        show();
        form.onreset = () => show();
        form.oninput = () => {
            isChanged = true;
        };
        form.onsubmit = async (event) => {
            event.preventDefault();
            if (button) return;
            button = event.submitter ?? form;
            button.ariaDisabled = 'true'; // `disabled` would lose the focus
            isChanged = false;
            show();
            try {
                await send(readForm(form));
                if (!isChanged) form.reset();
                done.textContent = /** @type {any} */ (form.dataset.done);
            } catch (/** @type {any} */ error) {
                show(error.data?.fields ?? { '': error.message });
            }
            button = button.ariaDisabled = null;
        };
    }
}
