/**
 * A real WebSocket server for tests, and the page around it:
 *
 *     const server = await startServer();
 *     const service = new OrdersWebSocketService('1');
 *     onTestFinished(() => service.close());
 *     await service.connect();
 *     const connection = await server.nextConnection();
 *     service.send({ type: 'place_order', data: {} });
 *     expect(await connection.nextFrame()).toEqual({ type: 'place_order', data: {} });
 *     connection.send({ type: 'status_update', data: {} });
 *
 * Every wait has a deadline, and fails with what it waited for. When the test ends, the server
 * and the page are gone.
 */
import { onTestFinished, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

// A test may fake the clock: deadlines keep the real one.
const { setTimeout, clearTimeout } = globalThis;
const DEADLINE = 3_000; // ms

const WELCOME = { epoch: 'test', seq: 0, recovered: null, heartbeat: 25, max_bytes: 65_536 };

/** Hands out things in the order in which they came, to those who wait in the order in which they
 * asked. @template T */
class Arrivals {
    /** @type {T[]} */
    #arrived = [];
    /** @type {((thing: T) => void)[]} */
    #waiting = [];

    /** @param {T} thing */
    add(thing) {
        const waiting = this.#waiting.shift();
        if (waiting) waiting(thing);
        else this.#arrived.push(thing);
    }

    /** How many came that nobody has asked for. */
    get size() {
        return this.#arrived.length;
    }

    /** @param {string} what @returns {Promise<T>} */
    next(what) {
        const [thing] = this.#arrived.splice(0, 1);
        if (thing !== undefined) return Promise.resolve(thing);
        return new Promise((resolve, reject) => {
            /** @param {T} thing */
            const waiting = (thing) => {
                clearTimeout(timer);
                resolve(thing);
            };
            const timer = setTimeout(() => {
                this.#waiting = this.#waiting.filter((other) => other !== waiting);
                reject(new Error(`waited ${DEADLINE / 1_000} s for ${what}`));
            }, DEADLINE);
            this.#waiting.push(waiting);
        });
    }
}

/** The server's end of one connection. */
class Connection {
    /** Whether it answers pings. */
    isSilent = false;
    #socket;
    /** @type {Arrivals<any>} */
    #frames = new Arrivals();
    /** @type {Arrivals<number>} */
    #closes = new Arrivals();

    /** @param {WebSocket} socket @param {URL} url that the page asked for */
    constructor(socket, url) {
        this.#socket = socket;
        this.url = url;
        socket.on('message', (text) => this.#receive(JSON.parse(String(text))));
        socket.on('close', (code) => this.#closes.add(code));
    }

    /** How many frames came that the test has not taken. */
    get waitingFrames() {
        return this.#frames.size;
    }

    /** The next frame of the page. Pings are answered, and not among them.
     * @returns {Promise<any>} */
    nextFrame() {
        return this.#frames.next(`a frame on ${this.url.pathname}`);
    }

    /** The page's end of the connection, as a close code. */
    closed() {
        return this.#closes.next(`the close of ${this.url.pathname}`);
    }

    /** @param {object | string} frame a string is sent as it is */
    send(frame) {
        this.#socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
    }

    /** @param {number} code @param {string} [reason] */
    close(code, reason) {
        this.#socket.close(code, reason);
    }

    /** As a lost network does: no close frame, the page sees 1006. */
    cut() {
        this.#socket.terminate();
    }

    /** From now on pings stay unanswered, as on a half-open connection. */
    goSilent() {
        this.isSilent = true;
    }

    /** @param {any} frame */
    #receive(frame) {
        if (frame.type !== 'ping') this.#frames.add(frame);
        else if (!this.isSilent) this.send({ type: 'pong' });
    }
}

/** What `startServer` returns. */
class TestServer {
    /** How many connections there were. */
    connectionCount = 0;
    #server;
    #options;
    /** @type {Arrivals<Connection>} */
    #connections = new Arrivals();

    /** @param {WebSocketServer} server @param {ServerOptions} options */
    constructor(server, options) {
        this.#server = server;
        this.#options = options;
        server.on('connection', (socket, request) => this.#accept(socket, request.url ?? ''));
    }

    get url() {
        const { port } = /** @type {import('node:net').AddressInfo} */ (this.#server.address());
        return new URL(`http://127.0.0.1:${port}/`);
    }

    /** The next connection of a page, in the order in which they came. */
    nextConnection() {
        return this.#connections.next('a connection');
    }

    /** Cut every connection and take no more. */
    async stop() {
        for (const client of this.#server.clients) client.terminate();
        await new Promise((resolve) => this.#server.close(resolve));
    }

    /** @param {WebSocket} socket @param {string} path */
    #accept(socket, path) {
        this.connectionCount += 1;
        const connection = new Connection(socket, new URL(path, this.url));
        const { welcome = {}, onConnection } = this.#options;
        if (welcome) connection.send({ type: 'welcome', data: { ...WELCOME, ...welcome } });
        onConnection?.(connection);
        this.#connections.add(connection);
    }
}

/** ws throws an `error` that nobody listens to; a browser does not. */
class BrowserWebSocket extends WebSocket {
    /** @param {string} url */
    constructor(url) {
        super(url);
        this.on('error', () => {});
    }
}

/**
 * @typedef {object} ServerOptions
 * @property {object | false} [welcome] members of the greeting that differ from the usual one, or
 *     false to send none
 * @property {(connection: Connection) => void} [onConnection] called for each at once
 * @property {number} [port] any free one by default
 */

/**
 * Start a server, and make `WebSocket` and `location` those of a page that it serves.
 * @param {ServerOptions} [options]
 */
export async function startServer(options = {}) {
    const { port = 0 } = options;
    const listener = new WebSocketServer({ host: '127.0.0.1', port });
    await new Promise((resolve) => listener.once('listening', resolve));
    const server = new TestServer(listener, options);
    vi.stubGlobal('WebSocket', BrowserWebSocket);
    vi.stubGlobal('location', server.url);
    onTestFinished(async () => {
        vi.unstubAllGlobals();
        await server.stop();
    });
    return server;
}
