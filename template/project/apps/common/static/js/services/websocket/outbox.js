/** @typedef {{ message: object, text: string, ref?: string }} Unsent */

/** Messages queued until the connection is open, bounded in number and age. */
export class Outbox {
    /** @type {(Unsent & { until: number })[]} oldest first */
    #waiting = [];
    /** @type {any} */
    #timer;
    #limits;
    #onExpired;

    /**
     * @param {{ queueLimit: number, queueTtl: number }} limits ttl in ms
     * @param {(unsent: Unsent) => void} onExpired
     */
    constructor(limits, onExpired) {
        this.#limits = limits;
        this.#onExpired = onExpired;
    }

    /** @param {Unsent} unsent @returns {boolean} false when full */
    add(unsent) {
        const { queueLimit, queueTtl } = this.#limits;
        if (this.#waiting.length >= queueLimit) return false;
        this.#waiting.push({ ...unsent, until: Date.now() + queueTtl });
        this.#expire();
        return true;
    }

    /** Remove and return all of them. */
    take() {
        this.#expire();
        clearTimeout(this.#timer);
        return this.#waiting.splice(0);
    }

    #expire() {
        const now = Date.now();
        const fresh = this.#waiting.filter(({ until }) => until > now);
        const expired = this.#waiting.splice(0, this.#waiting.length - fresh.length);
        clearTimeout(this.#timer);
        if (fresh.length) this.#timer = setTimeout(() => this.#expire(), fresh[0].until - now);
        expired.forEach(this.#onExpired);
    }
}
