import { Backoff, RESTART } from './websocket/backoff.js';
import { Events, guard } from './websocket/events.js';
import { Heartbeat } from './websocket/heartbeat.js';
import { Outbox } from './websocket/outbox.js';
import { watchPageEvents } from './websocket/page_events.js';
import { isFinal, parsePageData, SocketError, socketURL } from './websocket/protocol.js';
import { Requests } from './websocket/requests.js';

const DEFAULTS = {
    maxAttempts: 5, // to reconnect, then status `error`, or further attempts every `probeDelay`
    minDelay: 1_000, // ms before the first of them; doubled each time
    maxDelay: 30_000, // ms
    probeDelay: 0, // ms between further attempts, on average; 0 for none
    stableAfter: 5_000, // ms connected until the attempts count from zero
    connectTimeout: 10_000, // ms
    requestTimeout: 10_000, // ms
    heartbeat: 25_000, // ms between pings, until the server's `welcome` sets it; 0 for none
    pongTimeout: 5_000, // ms without a message after a ping until the connection is lost
    maxBytes: 65_536, // of a message, until the server's `welcome` sets it
    queueLimit: 64, // messages that wait for a connection
    queueTtl: 30_000, // ms that each of them waits
};

/** @typedef {import('./websocket/protocol.js').Position} Position */
/** @typedef {{ type: string, [member: string]: unknown }} Message */
/** @typedef {import('./websocket/events.js').Status} Status */
/** @typedef {import('./websocket/events.js').Details} Details */

/**
 * A connection that reconnects, and receives the broadcasts it missed.
 * @template {object} [Own={}] the arguments of each of a feature's own events
 * @extends {Events<Own>}
 */
export class BaseWebSocketService extends Events {
    #options;
    #backoff;
    #heartbeat;
    #outbox;
    #requests = new Requests();
    /** @type {Status} */
    #status = 'disconnected';
    /** @type {WebSocket | undefined} */
    #socket;
    #generation = 0;
    /** @type {any} ends this attempt, or begins the next */
    #timer;
    /** @type {(() => void) | undefined} */
    #unwatch;
    /** @type {((error?: Error) => void)[]} */
    #waiters = [];
    #position;
    #page;
    /** @type {Message[]} of the state that arrives in parts */
    #state = [];
    /** @type {number | undefined} when it was first closed with `RESTART` since the last `welcome` */
    #refusedAt;

    /**
     * @param {{ endpoint: string | (() => string | Promise<string>), pageData?: string }
     *     & Partial<typeof DEFAULTS>} options a function as endpoint is called before each attempt;
     *     pageData is what the view's page_data() returned, as the page has it
     */
    constructor(options) {
        super();
        this.#options = { ...DEFAULTS, ...options };
        ({ position: this.#position, ...this.#page } = parsePageData(options.pageData));
        this.#backoff = new Backoff(this.#options);
        this.#heartbeat = new Heartbeat(this.#options.pongTimeout, {
            ping: () => this.#socket?.send('{"type":"ping"}'),
            onSilence: () => this.#lost(1006, 'The server is silent.'),
            onLatency: (milliseconds) => this.emit('latency', milliseconds),
        });
        this.#outbox = new Outbox(this.#options, this.#drop.bind(this, 'queue_expired'));
    }

    get status() {
        return this.#status;
    }

    /** Whether `send()` would send at once. */
    get isConnected() {
        return this.#status === 'connected' && this.#socket?.readyState === 1;
    }

    /**
     * Connect, and stay connected until `close()`.
     * @returns {Promise<void>} resolves when open; rejects when closed, refused or out of attempts
     */
    connect() {
        if (!this.#unwatch || this.#status === 'error') this.retry();
        return this.#whenOpen();
    }

    /** Reconnect now, and count the attempts from zero. */
    retry() {
        this.#unwatch ??= watchPageEvents((isLeaving) => this.#onPageEvent(isLeaving));
        this.#backoff.attempt = 0;
        if (this.#status === 'disconnected' || this.#status === 'error') this.#attempt();
        return this.#whenOpen();
    }

    close() {
        this.#unwatchPage();
        this.#hangUp();
        this.#setStatus('disconnected');
        this.#abandon(new SocketError('closed'));
    }

    /**
     * Send now, or once connected.
     * @param {Message} message
     */
    send(message) {
        this.#post(message);
    }

    /**
     * Send, and await the reply. Never sent twice: the server may have handled the first.
     * @param {Message} message
     * @param {{ timeout?: number }} [options] ms
     */
    request(message, { timeout = this.#options.requestTimeout } = {}) {
        return this.#requests.open(timeout, (ref) => this.#post({ ...message, ref }, ref));
    }

    /**
     * Override to handle messages. By default each is emitted as an event of its type.
     * @param {any} data the whole message
     */
    handleMessage(data) {
        this.emit(data.type, data);
    }

    async #attempt() {
        this.#hangUp();
        const { connectTimeout, endpoint } = this.#options;
        const open = this.#during((url) => this.#open(url));
        const fail = this.#during(({ message }) => this.#lost(1006, message));
        this.#timer = setTimeout(fail, connectTimeout, { message: 'No connection in time.' });
        this.#setStatus('connecting');
        try {
            open(typeof endpoint === 'function' ? await endpoint() : endpoint);
        } catch (error) {
            fail(error);
        }
    }

    /** @param {string} endpoint */
    #open(endpoint) {
        const waited = this.#refusedAt && Date.now() - this.#refusedAt;
        const query = { ...this.#position, ...this.#page, waited };
        const socket = new WebSocket(socketURL(endpoint, query));
        socket.onopen = this.#during(() => this.#opened());
        socket.onmessage = this.#during(({ data }) => this.#receive(data));
        socket.onclose = this.#during(({ code, reason }) => this.#lost(code, reason));
        this.#socket = socket;
    }

    #opened() {
        clearTimeout(this.#timer);
        this.#backoff.opened();
        this.#heartbeat.start(this.#options.heartbeat);
        this.#status = 'connected';
        for (const { text, ref } of this.#outbox.take()) {
            // A request may have timed out in the outbox.
            if (!ref || this.#requests.pending.has(ref)) this.#socket?.send(text);
        }
        for (const settle of this.#waiters.splice(0)) settle();
        this.#setStatus('connected');
    }

    /** @param {number} code @param {string} reason */
    #lost(code, reason) {
        this.#hangUp();
        if (code === RESTART) this.#refusedAt ??= Date.now();
        const delay = isFinal(code) ? undefined : this.#backoff.next(code);
        if (delay === undefined) return this.#fail(code, reason);
        this.#timer = setTimeout(() => this.#attempt(), delay);
        this.#setStatus('disconnected', { delay, code, reason });
    }

    /** @param {number} code @param {string} reason */
    #fail(code, reason) {
        if (isFinal(code)) this.#unwatchPage(); // its events must not retry after a final code
        const error = new SocketError(isFinal(code) ? code : 'gave_up', reason);
        this.#setStatus('error', { code, reason });
        this.emit('error', error);
        this.#abandon(error);
    }

    /** End this attempt without waiting for the close handshake. */
    #hangUp() {
        this.#generation += 1;
        clearTimeout(this.#timer);
        this.#heartbeat.stop();
        this.#socket?.close();
        this.#socket = undefined;
        // Before that, requests wait in the outbox.
        if (this.#status !== 'connected') return;
        const error = new SocketError('connection_lost');
        for (const ref of this.#requests.pending.keys()) this.#requests.settle(ref, error);
    }

    /** @param {SocketError} error for pending connect() calls and unsent messages */
    #abandon(error) {
        for (const settle of this.#waiters.splice(0)) settle(error);
        for (const unsent of this.#outbox.take()) this.#drop(error.code, unsent);
    }

    /** @param {Status} status @param {Partial<Details>} [details] */
    #setStatus(status, details) {
        this.#status = status;
        this.emit('connectionStatus', status, { attempt: this.#backoff.attempt, ...details });
    }

    /** @param {(arg: any) => void} callback not called once this attempt is over */
    #during(callback) {
        const generation = this.#generation;
        return (/** @type {any} */ arg) => {
            if (generation === this.#generation) callback(arg);
        };
    }

    /** @returns {Promise<void>} */
    #whenOpen() {
        if (this.isConnected) return Promise.resolve();
        const open = new Promise((resolve, reject) => {
            this.#waiters.push((error) => (error ? reject(error) : resolve(undefined)));
        });
        open.catch(() => {}); // unhandled is fine: `error` is emitted, too
        return open;
    }

    /** @param {string} text */
    #receive(text) {
        this.#heartbeat.received();
        let frame;
        try {
            frame = JSON.parse(text);
        } catch {
            return this.emit('error', new SocketError('invalid_json'));
        }
        if (this.#position && typeof frame?.seq === 'number') this.#position.seq = frame.seq;
        guard(() => this.#dispatch(frame));
    }

    /** @param {any} frame */
    #dispatch(frame) {
        const { type, ref, data } = frame ?? {};
        const isError = type === 'error';
        const error = isError
            ? new SocketError(data?.code ?? type, data?.message, data)
            : undefined;
        if (this.#requests.settle(ref, error, frame)) return;
        if (error) this.emit('error', error);
        else if (type === 'welcome') this.#welcome(data);
        else if (type === 'pong') this.#heartbeat.pong();
        else if (type === 'resync') this.#resync(data);
        else if (type === 'state') this.#receiveState(data);
        else if (type === 'changes') this.#receiveChanges(data);
        else if (type === 'draining') this.#drain(data.within);
        else if (type === 'fragment') this.emit(type, data);
        else this.handleMessage(frame);
    }

    /** @param {any} data */
    #welcome({ epoch, seq, recovered, heartbeat, max_bytes: maxBytes, state, outdated }) {
        this.#refusedAt = undefined;
        this.#state = [];
        if (maxBytes) this.#options.maxBytes = maxBytes;
        if (heartbeat) this.#heartbeat.start(heartbeat * 1_000);
        this.#heartbeat.probe();
        // A page without a position was rendered while the stream store was unavailable.
        const isUnknown = epoch && this.#options.pageData && !this.#position;
        // With a state, the position comes after it.
        if (state) this.#position = undefined;
        else if (recovered === false || isUnknown) this.#resync({ epoch, seq });
        // A known position stays: the missed broadcasts follow this message.
        else if (epoch) this.#position ??= { epoch, seq };
        if (outdated) this.emit('outdated', this.#page.contract);
    }

    /** @param {Position} position */
    #resync(position) {
        this.#position = { ...position };
        this.emit('resync', position);
    }

    /** @param {any} data a part; the last one is complete */
    #receiveState({ epoch, seq, view, messages, complete }) {
        this.#state.push(...messages);
        if (!complete) return;
        if (epoch) this.#position = { epoch, seq };
        this.#page.view = view;
        this.emit('state', this.#state.splice(0));
    }

    /** @param {any} data */
    #receiveChanges({ view, messages }) {
        this.#page.view = view;
        for (const message of messages) guard(() => this.handleMessage(message));
    }

    /** Reconnect at a random moment, after pending requests. @param {number} within seconds */
    #drain(within) {
        const leave = () => {
            if (this.#requests.pending.size) this.#timer = setTimeout(leave, 100);
            else this.#attempt();
        };
        const { minDelay } = this.#options;
        const delay = minDelay + Math.random() * Math.max(0, within * 1_000 - minDelay);
        clearTimeout(this.#timer);
        this.#timer = setTimeout(leave, delay);
    }

    /** @param {object} message @param {string} [ref] */
    #post(message, ref) {
        const text = JSON.stringify(message);
        const unsent = { message, text, ref };
        const isLarge = new TextEncoder().encode(text).length > this.#options.maxBytes;
        if (isLarge) this.#drop('too_large', unsent);
        else if (this.isConnected) this.#socket?.send(text);
        else if (!this.#outbox.add(unsent)) this.#drop('queue_full', unsent);
    }

    /** @param {string | number} code @param {import('./websocket/outbox.js').Unsent} unsent */
    #drop(code, { message, ref }) {
        const error = new SocketError(code, '', message);
        if (ref) this.#requests.settle(ref, error);
        else this.emit('error', error);
    }

    /** @param {boolean} isLeaving */
    #onPageEvent(isLeaving) {
        if (!isLeaving && this.#status === 'connected') return this.#heartbeat.probe();
        if (!isLeaving) return this.retry();
        // An open socket bars the back/forward cache.
        this.#hangUp();
        this.#setStatus('disconnected');
    }

    #unwatchPage() {
        this.#unwatch?.();
        this.#unwatch = undefined;
    }
}

// Two addresses are two classes, each with its own connections.
const { url } = import.meta;
const page = /** @type {any} */ (globalThis);
const LOADED = Symbol.for('BaseWebSocketService');
page[LOADED] ??= url;
if (page[LOADED] !== url) console.warn('Loaded twice:', page[LOADED], url);
