const LATE = 1_000; // ms; a later timer was held back by the browser

/** Finds a connection whose other end vanished without a word. */
export class Heartbeat {
    #timeout;
    #hooks;
    /** @type {any} */
    #beat;
    /** @type {any} runs while an answer is awaited */
    #deadline;
    #sentAt = 0;

    /**
     * @param {number} timeout ms for the answer
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

    /** Ping now, unless an answer is already awaited. */
    probe(again = true) {
        if (this.#deadline) return;
        const due = Date.now() + this.#timeout + LATE;
        this.#deadline = setTimeout(() => {
            this.received();
            // After sleep, the answer may wait behind this timer.
            if (again && Date.now() > due) this.probe(false);
            else this.#hooks.onSilence();
        }, this.#timeout);
        this.#sentAt = performance.now();
        this.#hooks.ping();
    }

    /** Any frame is a sign of life. */
    received() {
        clearTimeout(this.#deadline);
        this.#deadline = undefined;
    }

    pong() {
        this.#hooks.onLatency(performance.now() - this.#sentAt);
    }
}
