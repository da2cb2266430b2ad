const LATE = 1_000; // ms; a timer later than this was throttled by the browser

/** Detects a connection that was lost without a close. */
export class Heartbeat {
    #timeout;
    #hooks;
    /** @type {any} */
    #beat;
    /** @type {any} runs while a pong is awaited */
    #deadline;
    #sentAt = 0;

    /**
     * @param {number} timeout ms until the pong
     * @param {{ ping(): void, onSilence(): void, onLatency(milliseconds: number): void }} hooks
     */
    constructor(timeout, hooks) {
        this.#timeout = timeout;
        this.#hooks = hooks;
    }

    /** @param {number} interval ms; 0 for never */
    start(interval) {
        this.stop();
        if (interval) this.#beat = setInterval(() => this.probe(), interval);
    }

    stop() {
        clearInterval(this.#beat);
        this.received();
    }

    /** Ping now, unless a pong is already awaited. */
    probe(again = true) {
        if (this.#deadline) return;
        const due = Date.now() + this.#timeout + LATE;
        this.#deadline = setTimeout(() => {
            this.received();
            // After sleep, the pong may be queued behind this timer.
            if (again && Date.now() > due) this.probe(false);
            else this.#hooks.onSilence();
        }, this.#timeout);
        this.#sentAt = performance.now();
        this.#hooks.ping();
    }

    /** Any message proves that the connection works. */
    received() {
        clearTimeout(this.#deadline);
        this.#deadline = undefined;
    }

    pong() {
        this.#hooks.onLatency(performance.now() - this.#sentAt);
    }
}
