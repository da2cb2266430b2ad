import { SocketError } from './protocol.js';

/** Requests that await an answer with their `ref`. */
export class Requests {
    /** @type {Map<string | undefined, { resolve: Function, reject: Function, timer: any }>} */
    #open = new Map();
    #count = 0;

    get size() {
        return this.#open.size;
    }

    /** @param {number} timeout ms @returns {{ ref: string, answer: Promise<any> }} */
    open(timeout) {
        const ref = String(++this.#count);
        const late = () => this.settle(ref, new SocketError('timeout'));
        const answer = new Promise((resolve, reject) => {
            this.#open.set(ref, { resolve, reject, timer: setTimeout(late, timeout) });
        });
        return { ref, answer };
    }

    /**
     * @param {string | undefined} ref
     * @param {Error} [error] to reject with
     * @param {any} [frame] to resolve with
     * @returns {boolean} whether there was such a request
     */
    settle(ref, error, frame) {
        const request = this.#open.get(ref);
        clearTimeout(request?.timer);
        if (error) request?.reject(error);
        else request?.resolve(frame);
        return this.#open.delete(ref);
    }

    /** @param {Error} error */
    rejectAll(error) {
        for (const ref of this.#open.keys()) this.settle(ref, error);
    }
}
