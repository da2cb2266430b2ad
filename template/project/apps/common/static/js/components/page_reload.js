const KEY = 'websocket-reloads'; // in the tab's storage: the times of its reloads
const LIMIT = 3; // reloads
const PERIOD = 60_000; // ms

/**
 * Whether the page may reload itself now. Counts the reload that follows.
 * @param {string} [contract] that is outdated: the page reloads for it once
 */
export function mayReload(contract) {
    if (hasInput()) return false;
    try {
        const key = `${KEY}:${contract}`;
        if (contract && sessionStorage.getItem(key)) return false;
        const now = Date.now();
        /** @type {number[]} */
        const times = JSON.parse(sessionStorage.getItem(KEY) ?? '[]');
        const recent = times.filter((time) => Math.abs(now - time) < PERIOD);
        if (recent.length >= LIMIT) return false;
        if (contract) sessionStorage.setItem(key, 'once');
        sessionStorage.setItem(KEY, JSON.stringify([...recent, now]));
        return true;
    } catch {
        return false; // without storage, reloads cannot be counted
    }
}

/**
 * Whether the page has a field that differs from what was rendered.
 * @param {Document | ShadowRoot | Element} [root] the part of the page
 * @returns {boolean}
 */
export function hasInput(root = document) {
    const fields = root.querySelectorAll('input, textarea, select, [contenteditable]');
    const roots = [...root.querySelectorAll('*')].map(({ shadowRoot }) => shadowRoot);
    return [...fields].some(isDirty) || roots.some((inner) => inner && hasInput(inner));
}

/** Whether it differs from what was rendered. @param {any} field */
export function isDirty(field) {
    if (field.isContentEditable) return field.textContent.trim() !== '';
    if (field.options) {
        const options = [...field.options];
        const hasDefault = field.multiple || options.some((option) => option.defaultSelected);
        if (!hasDefault) return field.selectedIndex > 0; // a browser selects the first
        return options.some((option) => option.selected !== option.defaultSelected);
    }
    if (field.type === 'checkbox' || field.type === 'radio')
        return field.checked !== field.defaultChecked;
    // These have a value of their own where none was rendered.
    if (['color', 'hidden', 'range'].includes(field.type)) return false;
    return field.value !== field.defaultValue;
}
