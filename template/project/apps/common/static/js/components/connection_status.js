import { isFinal } from '../services/websocket/protocol.js';
import { mayReload } from './page_reload.js';

/** @typedef {import('../services/websocket.js').BaseWebSocketService} Service */
/** @typedef {import('../services/websocket/events.js').Status} Status */
/** @typedef {import('../services/websocket/events.js').Details} Details */

// The dots have a medium lightness, visible on light and dark backgrounds; text has the page's colour.
const CSS = `
    :host { display: inline-flex; flex-wrap: wrap; align-items: center; gap: 0.25em 0.5em; }
    :host([hidden]), [hidden] { display: none; }
    .dot {
        width: 0.7em; height: 0.7em; border-radius: 50%; forced-color-adjust: none;
        background: var(--connection-status-disconnected, #808080);
    }
    :host([status='connected']) .dot { background: var(--connection-status-connected, #2b8a3e); }
    :host([status='connecting']) .dot { background: var(--connection-status-connecting, #b7791f); }
    :host([status='error']) .dot { background: var(--connection-status-error, #d9383a); }
    .detail { font-size: 0.9em; font-variant-numeric: tabular-nums; }
    button {
        min-height: 24px; padding: 0 0.6em; font: inherit; color: inherit; cursor: pointer;
        background: none; border: 1px solid; border-radius: 0.3em;
    }
`;

const OTHER_USER = 4409; // the close code
const RELOAD_SPREAD = 5_000; // ms over which the pages reload that are notified at once

/** Used where the element has no `data-` attribute of that name; `{n}` is the number. */
const TEXTS = {
    connected: 'Connected',
    connecting: 'Connecting',
    disconnected: 'Disconnected',
    error: 'Connection failed',
    retry: 'Retry',
    reload: 'Reload',
    outdated: 'This page is out of date.',
    otherUser: 'This page was opened by another user.',
    wait: 'next attempt in {n} s',
    latency: '{n} ms',
};

/** @param {DOMStringMap} dataset of the element, as `{% connection_status %}` renders it */
export function textsOf(dataset) {
    return { ...TEXTS, ...dataset };
}

/**
 * The detail beside the status: the reason, the countdown or the round-trip time.
 * @param {Status} status
 * @param {{ code?: number, reason?: string, wait?: number, latency?: number }} facts ms
 * @param {{ wait: string, latency: string, otherUser: string }} texts
 */
export function describe(status, { code, reason, wait, latency }, texts) {
    const number = (/** @type {number} */ n, /** @type {string} */ text) =>
        text.replace('{n}', `${n}`);
    if (status === 'error') return code === OTHER_USER ? texts.otherUser : (reason ?? '');
    if (status === 'connected' && latency !== undefined)
        return number(Math.round(latency), texts.latency);
    if (status === 'disconnected' && wait !== undefined)
        return number(Math.ceil(wait / 1_000), texts.wait);
    return '';
}

/** Shows a service's connection: `<connection-status>`, with `element.service = service`. */
export class ConnectionStatus extends HTMLElement {
    /** @type {Service | undefined} */
    #service;
    /** @type {(() => void)[]} */
    #undo = [];
    /** @type {any} */
    #countdown;
    /** @type {any} */
    #reloading;
    #isOutdated = false;
    #label = document.createElement('span');
    #detail = document.createElement('span');
    #notice = document.createElement('span');
    #retry = document.createElement('button');
    #reload = document.createElement('button');

    constructor() {
        super();
        const dot = document.createElement('span');
        dot.className = 'dot';
        // Only the status is announced, not each second of the countdown.
        this.#label.setAttribute('role', 'status');
        this.#detail.className = 'detail';
        this.#notice.setAttribute('role', 'alert');
        this.#retry.addEventListener('click', () => this.#service?.retry());
        this.#reload.addEventListener('click', () => location.reload());
        this.#retry.type = this.#reload.type = 'button';
        const root = this.attachShadow({ mode: 'open' });
        root.append(dot, this.#label, this.#detail, this.#notice, this.#retry, this.#reload);
        // A constructed sheet, since a Content-Security-Policy may forbid <style>.
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(CSS);
        root.adoptedStyleSheets = [sheet];
    }

    get service() {
        return this.#service;
    }

    set service(service) {
        this.disconnectedCallback();
        this.#service = service;
        if (this.isConnected) this.#subscribe();
    }

    /**
     * Reload the page within five seconds, and with it the state. If it has a field that was changed, or has reloaded
     * three times within a minute, the visitor is offered a button instead.
     * @param {string} [contract] of the event `outdated`: the page reloads by itself once for each
     */
    reload(contract) {
        this.#reloading ??= setTimeout(() => {
            this.#reloading = undefined;
            if (mayReload(contract)) return location.reload();
            this.#isOutdated = true;
            this.#notice.textContent = textsOf(this.dataset).outdated;
            this.#reload.hidden = false;
        }, Math.random() * RELOAD_SPREAD);
    }

    connectedCallback() {
        // A service that was set before this class was defined shadows the accessor.
        const { service } = this;
        Reflect.deleteProperty(this, 'service');
        this.service = service;
    }

    disconnectedCallback() {
        for (const undo of this.#undo.splice(0)) undo();
        clearInterval(this.#countdown);
    }

    #subscribe() {
        if (!this.#service) return;
        this.#undo = [
            this.#service.on('connectionStatus', (...args) => this.#show(...args)),
            this.#service.on('latency', (latency) => this.#showDetail({ latency })),
        ];
        this.#show(this.#service.status, { attempt: 0 });
    }

    /** @param {Status} status @param {Details} details */
    #show(status, { delay, code, reason }) {
        this.setAttribute('status', status);
        const texts = textsOf(this.dataset);
        this.#label.textContent = texts[status];
        this.#retry.textContent = texts.retry;
        this.#reload.textContent = texts.reload;
        const isLost = status === 'error' && isFinal(code ?? 0);
        this.#retry.hidden = isLost || (status !== 'error' && delay === undefined);
        this.#reload.hidden = !isLost && !this.#isOutdated;
        this.#showDetail({ code, reason, wait: delay });
        clearInterval(this.#countdown);
        if (delay !== undefined) this.#count(Date.now() + delay);
    }

    /** @param {number} until */
    #count(until) {
        const tick = () => this.#showDetail({ wait: Math.max(0, until - Date.now()) });
        this.#countdown = setInterval(tick, 1_000);
    }

    /** @param {{ code?: number, reason?: string, wait?: number, latency?: number }} facts */
    #showDetail(facts) {
        const status = /** @type {Status} */ (this.getAttribute('status'));
        this.#detail.textContent = describe(status, facts, textsOf(this.dataset));
    }
}

customElements.define('connection-status', ConnectionStatus);
