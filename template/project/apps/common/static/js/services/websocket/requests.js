import { SocketError } from './protocol.js';

/** Pending requests, matched to replies by `ref`. */
export class Requests {
    /** @type {Map<string | undefined, { resolve: Function, reject: Function, timer: any }>} */
    pending = new Map();
    #count = 0;

    /**
     * @param {number} timeout ms
     * @param {(ref: string) => void} send
     * @returns {Promise<any>} the reply; rejects with a SocketError
     */
    open(timeout, send) {
        const ref = String(++this.#count);
        const late = () => this.settle(ref, new SocketError('timeout'));
        return new Promise((resolve, reject) => {
            this.pending.set(ref, { resolve, reject, timer: setTimeout(late, timeout) });
            send(ref);
        });
    }

    /**
     * @param {string | undefined} ref
     * @param {Error} [error] to reject with
     * @param {any} [frame] to resolve with
     * @returns {boolean} whether there was such a request
     */
    settle(ref, error, frame) {
        const request = this.pending.get(ref);
        clearTimeout(request?.timer);
        if (error) request?.reject(error);
        else request?.resolve(frame);
        return this.pending.delete(ref);
    }
}
