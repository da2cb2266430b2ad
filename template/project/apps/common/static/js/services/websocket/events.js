/** @typedef {'connecting' | 'connected' | 'disconnected' | 'error'} Status */
/** @typedef {{ attempt: number, delay?: number, code?: number, reason?: string }} Details delay: ms */
/** @typedef {{ action: string, target: string, html: string }} Fragment target: an element's id */
/**
 * @typedef {object} Known the arguments that each event's listeners receive
 * @property {[status: Status, details: Details]} connectionStatus
 * @property {[error: import('./protocol.js').SocketError]} error
 * @property {[position: import('./protocol.js').Position]} resync reload the state
 * @property {[messages: { type: string, data: any }[]]} state the whole of it, to replace what the page shows
 * @property {[fragment: Fragment]} fragment of broadcast_html()
 * @property {[milliseconds: number]} latency from ping to pong
 * @property {[contract?: string]} outdated the page's contract, which the server no longer keeps: reload the page
 */

/**
 * @template Own
 * @template {string} Name
 * @typedef {Name extends keyof Known ? Known[Name]
 *     : Name extends keyof Own ? Own[Name] extends any[] ? Own[Name] : any[] : any[]} ArgumentsOf
 */

/** @template {object} [Own={}] the arguments of each of a feature's own events */
export class Events {
    /** @type {Map<string, Set<Function>>} */
    #listeners = new Map();

    /**
     * @template {string} Name
     * @param {Name | keyof Known | (keyof Own & string)} event
     * @param {(...args: ArgumentsOf<Own, Name>) => void} callback
     * @returns {() => void} removes the listener
     */
    on(event, callback) {
        const listeners = this.#listeners.get(event) ?? new Set();
        this.#listeners.set(event, listeners.add(callback));
        return () => this.off(event, callback);
    }

    /** @param {string} event @param {Function} callback */
    off(event, callback) {
        this.#listeners.get(event)?.delete(callback);
    }

    /** @param {string} event @param {...any} args */
    emit(event, ...args) {
        const listeners = [...(this.#listeners.get(event) ?? [])];
        if (event === 'error' && !listeners.length) console.error(...args);
        for (const listener of listeners) guard(() => listener(...args));
    }
}

/** Report what a callback throws, so that the next ones still run. @param {() => void} callback */
export function guard(callback) {
    try {
        callback();
    } catch (error) {
        (globalThis.reportError ?? console.error)(error);
    }
}
