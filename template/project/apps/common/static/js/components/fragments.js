import { counterpart } from './counterpart.js';
import { isDirty } from './page_reload.js';

/** @type {Record<string, (target: Element, content: DocumentFragment) => void>} */
const ACTIONS = {
    append: (target, content) => target.append(content),
    prepend: (target, content) => target.prepend(content),
    replace: (target, content) => target.replaceWith(content),
    update: (target, content) => target.replaceChildren(content),
    remove: (target) => target.remove(),
    before: (target, content) => target.before(content),
    after: (target, content) => target.after(content),
};
const OF_ITSELF = ['replace', 'update']; // what these had of the same id or name keeps what a person did to it

/**
 * Apply a fragment of `broadcast_html()`: `websocket.on('fragment', applyFragment)`. Elements whose ids are in the page
 * already are moved, not doubled. A script in it does not run; a fragment whose target the page lacks has no effect.
 * @param {import('../services/websocket/events.js').Fragment} fragment
 */
export function applyFragment({ action, target: id, html }) {
    const target = document.getElementById(id);
    if (target) apply(action, target, html);
}

/** @param {string} action @param {Element} target @param {string} html */
export function apply(action, target, html) {
    const template = document.createElement('template');
    template.innerHTML = html; // scripts of it are dead, and a Content-Security-Policy holds for its attributes
    const { content } = template;
    const active = /** @type {any} */ (document.activeElement);
    const hadFocus = target.contains(active) && OF_ITSELF.includes(action);
    const { selectionStart, selectionEnd } = active ?? {};
    if (OF_ITSELF.includes(action)) keepInput(target, content);
    else for (const { id } of content.children) if (id) document.getElementById(id)?.remove();
    const next = hadFocus && counterpart(target, content, active);
    ACTIONS[action]?.(target, content);
    if (!next) return;
    next.focus({ preventScroll: true });
    if (selectionStart != null) next.setSelectionRange(selectionStart, selectionEnd);
}

/** Keep the values that a person typed or chose. @param {Element} target @param {DocumentFragment} content */
function keepInput(target, content) {
    for (const field of target.querySelectorAll('input, textarea, select')) {
        const { type, value, checked } = /** @type {any} */ (field);
        const next = isDirty(field) && counterpart(target, content, field);
        if (next && ['checkbox', 'radio'].includes(type)) next.checked = checked;
        else if (next && type !== 'file') next.value = value;
    }
}
