/**
 * A real WebSocket server for tests, with the page that it serves:
 *
 *     const server = await startServer();
 *     const service = new OrdersWebSocketService('1');
 *     await service.connect();
 *     const connection = await server.nextConnection();
 *     service.send({ type: 'place_order', data: {} });
 *     expect(await connection.nextMessage()).toEqual({ type: 'place_order', data: {} });
 *     connection.send({ type: 'status_update', data: {} });
 *     const [message] = await nextEvent(service, 'statusUpdate');
 *     service.close();
 *
 * Each wait has a deadline, and fails by saying what it waited for. The server and the page last
 * until the end of the test, as does whatever else it gave to `vi.stubGlobal`.
 */
import { onTestFinished, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

// Taken now, since a test may fake the clock later: a deadline goes by the real one.
const { setTimeout, clearTimeout } = globalThis;
const DEADLINE = 3_000; // ms

const WELCOME = { epoch: 'test', seq: 0, recovered: null, heartbeat: 25, max_bytes: 65_536 };

/**
 * @typedef {object} ServerOptions
 * @property {object | false} [welcome] what differs from the usual greeting; false for none
 * @property {(connection: Connection) => void} [onConnection] called for each connection at once
 */

/**
 * Start a server, and make `WebSocket` and `location` those of a page that it serves.
 * @param {ServerOptions} [options]
 */
export async function startServer(options = {}) {
    const listener = new WebSocketServer({ host: '127.0.0.1', port: 0 });
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

/**
 * The arguments of the next event of a service that matches.
 * @param {{ on: (event: string, callback: (...args: any[]) => void) => () => void }} service
 * @param {string} event
 * @param {(...args: any[]) => boolean} [matches] any by default
 * @returns {Promise<any[]>}
 */
export function nextEvent(service, event, matches = () => true) {
    return within(`the event ${event}`, (resolve) => {
        const off = service.on(event, (...args) => {
            if (!matches(...args)) return;
            off();
            resolve(args);
        });
    });
}

class TestServer {
    /** How many connections there were. */
    connectionCount = 0;
    #listener;
    #options;
    /** @type {Arrivals<Connection>} */
    #connections = new Arrivals('a connection');

    /** @param {WebSocketServer} listener @param {ServerOptions} options */
    constructor(listener, options) {
        this.#listener = listener;
        this.#options = options;
        listener.on('connection', (socket, { url }) => this.#accept(socket, url ?? ''));
    }

    /** Of the page. */
    get url() {
        const { port } = /** @type {import('node:net').AddressInfo} */ (this.#listener.address());
        return new URL(`http://127.0.0.1:${port}/`);
    }

    /** The connections, in the order in which they came. */
    nextConnection() {
        return this.#connections.next();
    }

    /** Cut all connections, and refuse new ones. */
    async stop() {
        const closed = new Promise((resolve) => this.#listener.close(resolve));
        for (const client of this.#listener.clients) client.terminate();
        await closed;
    }

    /** @param {WebSocket} socket @param {string} path */
    #accept(socket, path) {
        const { welcome, onConnection } = this.#options;
        const connection = new Connection(socket, new URL(path, this.url));
        this.connectionCount += 1;
        if (welcome !== false) {
            connection.send({ type: 'welcome', data: { ...WELCOME, ...welcome } });
        }
        onConnection?.(connection);
        this.#connections.add(connection);
    }
}

/** The server's end of a connection. */
class Connection {
    #socket;
    #isSilent = false;
    /** @type {Arrivals<any>} */
    #messages;
    /** @type {Arrivals<any>} */
    #pings;
    /** @type {Arrivals<number>} */
    #close;

    /** @param {WebSocket} socket @param {URL} url that the page asked for */
    constructor(socket, url) {
        this.url = url;
        this.#socket = socket;
        this.#messages = new Arrivals(`a message on ${url.pathname}`);
        this.#pings = new Arrivals(`a ping on ${url.pathname}`);
        this.#close = new Arrivals(`the close of ${url.pathname}`);
        socket.on('message', (text) => this.#receive(JSON.parse(String(text))));
        socket.on('close', (code) => this.#close.add(code));
    }

    /** The messages of the page, in order, but for its pings.
     * @returns {Promise<any>} */
    nextMessage() {
        return this.#messages.next();
    }

    nextPing() {
        return this.#pings.next();
    }

    /** @returns {Promise<number>} the code with which the connection ended */
    nextClose() {
        return this.#close.next();
    }

    /** @param {any} message an object; a string is sent as it stands */
    send(message) {
        this.#socket.send(typeof message === 'string' ? message : JSON.stringify(message));
    }

    /** @param {number} code @param {string} [reason] */
    close(code, reason) {
        this.#socket.close(code, reason);
    }

    /** End it as a lost network does: without a close frame. */
    cut() {
        this.#socket.terminate();
    }

    /** Answer no more pings, as at the far end of a half-open connection. */
    goSilent() {
        this.#isSilent = true;
    }

    /** @param {any} message */
    #receive(message) {
        if (message.type !== 'ping') return this.#messages.add(message);
        if (!this.#isSilent) this.send({ type: 'pong' });
        this.#pings.add(message);
    }
}

/** Without a listener for its `error`, ws throws; a browser does not. */
class BrowserWebSocket extends WebSocket {
    /** @param {string} url */
    constructor(url) {
        super(url);
        this.on('error', () => {});
    }
}

/** Things that come, for those who wait for them. @template T */
class Arrivals {
    /** @type {T[]} */
    #arrived = [];
    /** @type {((thing: T) => void)[]} */
    #waiting = [];
    #what;

    /** @param {string} what they are */
    constructor(what) {
        this.#what = what;
    }

    /** @param {T} thing */
    add(thing) {
        const resolve = this.#waiting.shift();
        if (resolve) resolve(thing);
        else this.#arrived.push(thing);
    }

    /** @returns {Promise<T>} */
    next() {
        return within(this.#what, (resolve) => {
            if (this.#arrived.length) resolve(/** @type {T} */ (this.#arrived.shift()));
            else this.#waiting.push(resolve);
        });
    }
}

/**
 * @template T
 * @param {string} what is waited for
 * @param {(resolve: (value: T) => void) => void} start
 * @returns {Promise<T>}
 */
function within(what, start) {
    // Made here, so that its stack shows the test that waits.
    const late = new Error(`Waited ${DEADLINE / 1_000} s for ${what}.`);
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(late), DEADLINE);
        start((value) => {
            clearTimeout(timer);
            resolve(value);
        });
    });
}
