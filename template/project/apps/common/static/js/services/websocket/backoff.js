export const RESTART = 1012; // the close code that all clients receive at once
const RESTART_SPREAD = 10_000; // ms over which they reconnect

/** Delays between attempts to reconnect, and their limit. */
export class Backoff {
    /** Attempts since the connection was last stable. */
    attempt = 0;
    #limits;
    #openedAt = Infinity;

    /** @param {{ maxAttempts: number, minDelay: number, maxDelay: number, stableAfter: number, probeDelay?: number }} limits */
    constructor(limits) {
        this.#limits = limits;
    }

    /** Not a success yet: a server may accept and then close. */
    opened() {
        this.#openedAt = Date.now();
    }

    /**
     * @param {number} [code] of the close
     * @returns {number | undefined} ms to wait; undefined when no attempt is left
     */
    next(code) {
        const { maxAttempts, minDelay, maxDelay, stableAfter, probeDelay } = this.#limits;
        if (Date.now() - this.#openedAt >= stableAfter) this.attempt = 0;
        this.#openedAt = Infinity;
        if (this.attempt >= maxAttempts)
            return probeDelay ? probeDelay * (0.5 + Math.random()) : undefined;
        // Equal jitter: the fixed half outlasts a restart, the random half spreads the clients.
        const half = Math.min(maxDelay, minDelay * 2 ** this.attempt) / 2;
        const spread = code === RESTART && !this.attempt ? RESTART_SPREAD : half;
        this.attempt += 1;
        return half + Math.random() * spread;
    }
}
