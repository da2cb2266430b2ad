const RESTART = 1012; // the close code that all pages get at once
const RESTART_SPREAD = 10_000; // ms over which they return

/** When to try again, and when to give up. */
export class Backoff {
    /** Attempts since the connection was last stable. */
    attempt = 0;
    #limits;
    #openedAt = Infinity;

    /** @param {{ maxAttempts: number, minDelay: number, maxDelay: number, stableAfter: number }} limits */
    constructor(limits) {
        this.#limits = limits;
    }

    /** No success yet: a server may accept and then close. */
    opened() {
        this.#openedAt = Date.now();
    }

    /**
     * @param {number} [code] of the close
     * @returns {number | undefined} ms to wait; undefined to give up
     */
    next(code) {
        const { maxAttempts, minDelay, maxDelay, stableAfter } = this.#limits;
        if (Date.now() - this.#openedAt >= stableAfter) this.attempt = 0;
        this.#openedAt = Infinity;
        if (this.attempt >= maxAttempts) return;
        // Equal jitter: one half outlasts a restart, the other parts the pages.
        const half = Math.min(maxDelay, minDelay * 2 ** this.attempt) / 2;
        const spread = code === RESTART && !this.attempt ? RESTART_SPREAD : half;
        this.attempt += 1;
        return half + Math.random() * spread;
    }
}
