import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { BaseWebSocketService } from '/static/js/services/websocket.js';
import { nextEvent, startServer } from '../testing/websocket_server.js';

// Attempts follow within milliseconds, and each goes by its count alone.
const FAST = { minDelay: 2, maxDelay: 4 };

/** @param {Partial<ConstructorParameters<typeof BaseWebSocketService>[0]>} [options] */
function makeService(options) {
    const service = new BaseWebSocketService({ endpoint: '/ws/orders/1/', ...FAST, ...options });
    /** @type {[status: string, details: any][]} */
    const statuses = [];
    /** @type {any[]} */
    const errors = [];
    service.on('connectionStatus', (...args) => statuses.push(args));
    service.on('error', (error) => errors.push(error));
    onTestFinished(() => service.close());
    return Object.assign(service, { statuses, errors });
}

/** A service, connected. @param {Parameters<typeof makeService>[0]} [options] @param {object} [welcome] */
async function connected(options, welcome) {
    const server = await startServer({ welcome });
    const service = makeService(options);
    // The first answer to a ping shows that the greeting was read.
    const greeted = nextEvent(service, 'latency');
    await service.connect();
    const connection = await server.nextConnection();
    await greeted;
    return { server, service, connection };
}

/** @param {BaseWebSocketService} service @param {string} status */
const nextStatus = (service, status) =>
    nextEvent(service, 'connectionStatus', (is) => is === status);

/** A port at which nothing is. */
async function deadPort() {
    const listener = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => listener.once('listening', resolve));
    const { port } = /** @type {import('node:net').AddressInfo} */ (listener.address());
    await new Promise((resolve) => listener.close(resolve));
    return port;
}

afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
});

describe('connect', () => {
    it('resolves when the connection is open', async () => {
        const { service } = await connected();
        expect([service.isConnected, service.status]).toEqual([true, 'connected']);
    });

    it('works with a server that sends no greeting', async () => {
        const server = await startServer({ welcome: false });
        const service = makeService();
        await service.connect();
        service.send({ type: 'place_order' });
        expect(await (await server.nextConnection()).nextMessage()).toEqual({
            type: 'place_order',
        });
    });

    it('makes one connection, however often it is called', async () => {
        const { server, service } = await connected();
        await Promise.all([service.connect(), service.connect()]);
        expect(server.connectionCount).toBe(1);
    });

    it('emits each status', async () => {
        const { service } = await connected();
        service.close();
        expect(service.statuses).toEqual([
            ['connecting', { attempt: 0 }],
            ['connected', { attempt: 0 }],
            ['disconnected', { attempt: 0 }],
        ]);
    });

    it('asks a function for the endpoint before each attempt', async () => {
        const server = await startServer();
        const endpoint = vi.fn(async () => `/ws/orders/${endpoint.mock.calls.length}/`);
        const service = makeService({ endpoint });
        await service.connect();
        const connection = await server.nextConnection();
        expect(connection.url.pathname).toBe('/ws/orders/1/');
        connection.cut();
        expect((await server.nextConnection()).url.pathname).toBe('/ws/orders/2/');
    });

    it('counts an endpoint that fails as a failed attempt', async () => {
        await startServer();
        const endpoint = vi.fn().mockRejectedValue(new Error('no token'));
        const service = makeService({ endpoint, maxAttempts: 1 });
        await expect(service.connect()).rejects.toMatchObject({
            code: 'gave_up',
            message: 'no token',
        });
        expect(endpoint).toHaveBeenCalledTimes(2);
    });

    it('opens no socket if it was closed before the endpoint was known', async () => {
        const server = await startServer();
        /** @type {(endpoint: string) => void} */
        let answer = () => {};
        const service = makeService({
            endpoint: () => new Promise((resolve) => (answer = resolve)),
        });
        const connecting = service.connect();
        const socket = vi.spyOn(globalThis, 'WebSocket');
        service.close();
        answer('/ws/orders/1/');
        await expect(connecting).rejects.toMatchObject({ code: 'closed' });
        expect([socket.mock.calls.length, server.connectionCount]).toEqual([0, 0]);
    });

    it('gives up a server that accepts no connection in time', async () => {
        await startServer();
        const mute = createServer().listen(0, '127.0.0.1');
        await new Promise((resolve) => mute.once('listening', resolve));
        onTestFinished(() => void mute.close());
        const { port } = /** @type {import('node:net').AddressInfo} */ (mute.address());
        const endpoint = `ws://127.0.0.1:${port}/`;
        const service = makeService({ endpoint, connectTimeout: 20, maxAttempts: 0 });
        await expect(service.connect()).rejects.toThrow('No connection in time.');
    });

    it('has all the time once it is open', async () => {
        vi.useFakeTimers();
        const { service } = await connected({ connectTimeout: 10_000 });
        vi.advanceTimersByTime(10_000);
        expect(service.status).toBe('connected');
    });

    it('leaves no unhandled rejection when it is not awaited', async () => {
        await startServer();
        const unhandled = vi.fn();
        process.on('unhandledRejection', unhandled);
        onTestFinished(() => void process.off('unhandledRejection', unhandled));
        const endpoint = `ws://127.0.0.1:${await deadPort()}/`;
        const service = makeService({ endpoint, maxAttempts: 0 });
        service.connect();
        await nextStatus(service, 'error');
        await new Promise((resolve) => setImmediate(resolve));
        expect(unhandled).not.toHaveBeenCalled();
    });
});

describe('reconnecting', () => {
    it('tells when, why and which attempt', async () => {
        const { service, connection } = await connected({ minDelay: 100 });
        const waiting = nextStatus(service, 'disconnected');
        connection.close(1011, 'oops');
        const [, { delay, ...details }] = await waiting;
        expect(details).toEqual({ attempt: 1, code: 1011, reason: 'oops' });
        expect(delay).toBeGreaterThanOrEqual(2); // half of maxDelay
    });

    it.each([1000, 1001, 1011, 1012, 1013, 4000, 4408, 4429, 4500])(
        'reconnects after %i',
        async (code) => {
            vi.spyOn(Math, 'random').mockReturnValue(0);
            const { server, service, connection } = await connected();
            const back = nextStatus(service, 'connected');
            connection.close(code);
            await back;
            expect([server.connectionCount, service.errors]).toEqual([2, []]);
        },
    );

    it.each([1002, 1003, 1007, 1008, 1009, 1010, 4400, 4401, 4403, 4404])(
        'ends with %i',
        async (code) => {
            vi.useFakeTimers();
            const { service, connection } = await connected();
            expect(vi.getTimerCount()).toBe(1); // the heartbeat
            const refused = nextStatus(service, 'error');
            connection.close(code, 'no');
            expect((await refused)[1]).toEqual({ attempt: 0, code, reason: 'no' });
            expect(service.errors).toMatchObject([{ code, message: 'no' }]);
            await connection.nextClose();
            expect(vi.getTimerCount()).toBe(0);
        },
    );

    it('gives up a server that accepts and then closes, after five attempts', async () => {
        const server = await startServer({ onConnection: (connection) => connection.close(1011) });
        const service = makeService();
        service.connect();
        await nextStatus(service, 'error');
        expect(server.connectionCount).toBe(6);
        expect(service.errors).toMatchObject([{ code: 'gave_up' }]);
        expect(service.statuses.map(([, { attempt }]) => attempt).at(-1)).toBe(5);
    });

    it('counts the attempts from one again after a stable connection', async () => {
        const server = await startServer();
        const service = makeService({ maxAttempts: 1, stableAfter: 0 });
        service.connect();
        for (let i = 0; i < 4; i += 1) (await server.nextConnection()).cut();
        expect(server.connectionCount).toBe(4);
    });

    it('rejects connect() with the final error', async () => {
        await startServer();
        const endpoint = `ws://127.0.0.1:${await deadPort()}/`;
        const service = makeService({ endpoint, maxAttempts: 2 });
        await expect(service.connect()).rejects.toMatchObject({ code: 'gave_up' });
        expect(service.status).toBe('error');
    });

    it.each(
        /** @type {const} */ ([
            ['connect', 'refused', 4401],
            ['connect', 'given up', 1011],
            ['retry', 'refused', 4401],
            ['retry', 'given up', 1011],
        ]),
    )('%s() starts again what was %s', async (method, _, code) => {
        const { server, service, connection } = await connected({ maxAttempts: 0 });
        const failed = nextStatus(service, 'error');
        connection.close(code);
        await failed;
        await service[method]();
        expect([service.status, server.connectionCount]).toEqual(['connected', 2]);
    });

    it('retry() does not wait for the next attempt', async () => {
        const { service, connection } = await connected({ minDelay: 60_000, maxDelay: 60_000 });
        const waiting = nextStatus(service, 'disconnected');
        connection.cut();
        await waiting;
        await service.retry();
        expect(service.statuses.at(-1)).toEqual(['connected', { attempt: 0 }]);
    });

    it('retry() leaves an open connection alone', async () => {
        const { server, service } = await connected();
        await service.retry();
        expect(server.connectionCount).toBe(1);
    });

    it('close() ends all attempts', async () => {
        const { service, connection } = await connected({ minDelay: 60_000, maxDelay: 60_000 });
        vi.useFakeTimers();
        const waiting = nextStatus(service, 'disconnected');
        connection.cut();
        await waiting;
        expect(vi.getTimerCount()).toBe(1);
        service.close();
        service.close();
        expect([vi.getTimerCount(), service.status]).toEqual([0, 'disconnected']);
    });

    it('close() closes the connection at once', async () => {
        const { service, connection } = await connected();
        service.close();
        expect(await connection.nextClose()).toBe(1005);
    });
});

describe('the page', () => {
    /** @type {EventTarget} */
    let page;
    const dispatch = (/** @type {string} */ name) => page.dispatchEvent(new Event(name));

    beforeEach(() => {
        page = new EventTarget();
        vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
    });

    it('starts afresh what gave up', async () => {
        const { service, connection } = await connected({ maxAttempts: 0 });
        const failed = nextStatus(service, 'error');
        connection.cut();
        await failed;
        const back = nextStatus(service, 'connected');
        dispatch('online');
        expect((await back)[1]).toEqual({ attempt: 0 });
    });

    it('does not retry after a final close', async () => {
        const { service, connection } = await connected();
        const refused = nextStatus(service, 'error');
        connection.close(4403);
        await refused;
        dispatch('online');
        expect(service.status).toBe('error');
    });

    it('does not open what was closed', async () => {
        const { service } = await connected();
        service.close();
        dispatch('online');
        expect(service.status).toBe('disconnected');
    });

    it('probes an open connection instead of dropping it', async () => {
        const { server, service, connection } = await connected();
        await connection.nextPing();
        dispatch('pageshow');
        await connection.nextPing();
        expect([service.status, server.connectionCount]).toEqual(['connected', 1]);
    });

    it('drops a connection that does not answer the probe', async () => {
        vi.useFakeTimers();
        const { server, service, connection } = await connected({ pongTimeout: 5_000 });
        connection.goSilent();
        dispatch('online');
        const lost = nextStatus(service, 'disconnected');
        vi.advanceTimersByTime(5_000);
        expect((await lost)[1].code).toBe(1006);
        vi.advanceTimersByTime(FAST.maxDelay);
        await server.nextConnection();
    });

    it('closes when it is hidden by another, and connects when it is shown again', async () => {
        const { server, service, connection } = await connected();
        dispatch('pagehide');
        expect(service.status).toBe('disconnected');
        await connection.nextClose();
        dispatch('pageshow');
        await server.nextConnection();
        await service.connect();
        expect(service.statuses.at(-1)).toEqual(['connected', { attempt: 0 }]);
    });
});

describe('the position', () => {
    const position = { epoch: 'k3x', seq: 17 };
    const pageData = JSON.stringify(position);

    /** The query of the page when it connects again. @param {Awaited<ReturnType<typeof connected>>} all */
    async function askedAgain({ server, service, connection }) {
        connection.send({ type: 'last' });
        await nextEvent(service, 'last');
        // Not the answer to a ping of the first connection, which may be under way.
        const greeted = nextStatus(service, 'connected').then(() => nextEvent(service, 'latency'));
        connection.cut();
        const { search } = (await server.nextConnection()).url;
        await greeted;
        return search;
    }

    it('is not given by a page that has none', async () => {
        const { connection } = await connected();
        expect(connection.url.search).toBe('');
    });

    it('starts with the one that is rendered into the page', async () => {
        const { connection } = await connected({ pageData });
        expect(connection.url.search).toBe('?epoch=k3x&seq=17');
    });

    it('starts with the greeting where there is none', async () => {
        const all = await connected({}, position);
        expect(await askedAgain(all)).toBe('?epoch=k3x&seq=17');
    });

    it('advances with numbered frames alone', async () => {
        const all = await connected({ pageData });
        all.connection.send({ type: 'status_update', seq: 18 });
        all.connection.send({ type: 'status_update' });
        expect(await askedAgain(all)).toBe('?epoch=k3x&seq=18');
    });

    it('is not that of a greeting which the missed frames follow', async () => {
        const all = await connected({ pageData }, { epoch: 'k3x', seq: 21, recovered: true });
        expect(await askedAgain(all)).toBe('?epoch=k3x&seq=17');
    });

    it('is that of a greeting which says that broadcasts are lost, and the page is notified', async () => {
        const welcome = { epoch: 'm9a', seq: 3, recovered: false };
        const server = await startServer({ welcome });
        const service = makeService({ pageData });
        const resync = nextEvent(service, 'resync');
        service.connect();
        expect(await resync).toEqual([{ epoch: 'm9a', seq: 3 }]);
        const connection = await server.nextConnection();
        expect(await askedAgain({ server, service, connection })).toBe('?epoch=m9a&seq=3');
    });

    it('is that of a resync, and the page is notified', async () => {
        const all = await connected({ pageData });
        const resync = nextEvent(all.service, 'resync');
        all.connection.send({ type: 'resync', data: { epoch: 'm9a', seq: 3 } });
        expect(await resync).toEqual([{ epoch: 'm9a', seq: 3 }]);
        all.connection.send({ type: 'status_update', seq: 4 });
        expect(await askedAgain(all)).toBe('?epoch=m9a&seq=4');
    });

    it.each(['{}', '{"page_user":"a-b_c"}'])(
        'makes a page that was rendered without one reload its state: %s',
        async (text) => {
            const server = await startServer({ welcome: { epoch: 'm9a', seq: 3 } });
            const service = makeService({ pageData: text });
            const resync = nextEvent(service, 'resync');
            service.connect();
            expect(await resync).toEqual([{ epoch: 'm9a', seq: 3 }]);
            const connection = await server.nextConnection();
            const seen = vi.fn();
            service.on('resync', seen);
            const search = await askedAgain({ server, service, connection });
            expect(search).toMatch(/^\?epoch=m9a&seq=3/);
            expect(seen).not.toHaveBeenCalled();
        },
    );

    it.each([{ pageData }, { pageData: '' }, {}])(
        'makes no other page reload its state: %j',
        async (options) => {
            const seen = vi.fn();
            const server = await startServer({ welcome: { epoch: 'k3x', seq: 21 } });
            const service = makeService(options);
            service.on('resync', seen);
            const greeted = nextEvent(service, 'latency');
            service.connect();
            await greeted;
            expect([server.connectionCount, seen.mock.calls]).toEqual([1, []]);
        },
    );

    it('does not reload a page whose group has no stream', async () => {
        const seen = vi.fn();
        await startServer({ welcome: { epoch: '', seq: 0 } });
        const service = makeService({ pageData: '{}' });
        service.on('resync', seen);
        const greeted = nextEvent(service, 'latency');
        service.connect();
        await greeted;
        expect(seen).not.toHaveBeenCalled();
    });

    it('is refused where the page data is malformed', () => {
        expect(() => makeService({ pageData: 'k3x' })).toThrow('{{ page_data }}');
    });
});

describe('the state', () => {
    const position = { epoch: 'm9a', seq: 3 };
    const welcome = { ...position, recovered: false, state: true };
    const rows = [1, 2, 3].map((id) => ({ type: 'order_saved', data: { id } }));

    /** The query with which the page connects after this connection is cut.
     * @param {Awaited<ReturnType<typeof connected>>} all */
    async function askedAgain({ server, connection }) {
        connection.cut();
        return (await server.nextConnection()).url.search;
    }

    it('comes in parts and is one event, with the position from which the page continues', async () => {
        const all = await connected({ pageData: '{"epoch":"k3x","seq":17}' }, welcome);
        const { service, connection } = all;
        const seen = vi.fn();
        service.on('state', seen);
        const [first, ...others] = rows;
        for (const [messages, complete] of [
            [[first], false],
            [others, true],
        ])
            connection.send({ type: 'state', data: { ...position, messages, complete } });
        connection.send({ type: 'order_saved', seq: 4 });
        await nextEvent(service, 'order_saved');
        expect(seen.mock.calls).toEqual([[rows]]);
        expect(await askedAgain(all)).toBe('?epoch=m9a&seq=4');
    });

    it('makes no page reload that receives one', async () => {
        const seen = vi.fn();
        const all = await connected({ pageData: '{}' }, welcome);
        all.service.on('resync', seen);
        const state = nextEvent(all.service, 'state');
        const data = { ...position, messages: rows, complete: true };
        all.connection.send({ type: 'state', data });
        await state;
        await askedAgain(all);
        await nextEvent(all.service, 'latency');
        expect(seen).not.toHaveBeenCalled();
    });

    it('is asked for again where it did not arrive whole', async () => {
        const all = await connected({ pageData: '{"epoch":"k3x","seq":17}' }, welcome);
        const seen = vi.fn();
        all.service.on('state', seen);
        const data = { ...position, messages: rows, complete: false };
        all.connection.send({ type: 'state', data });
        all.connection.send({ type: 'last' });
        await nextEvent(all.service, 'last');
        all.connection.cut();
        const next = await all.server.nextConnection();
        expect(next.url.search).toBe('');
        next.send({ type: 'state', data: { ...data, messages: [], complete: true } });
        await nextEvent(all.service, 'state');
        expect(seen.mock.calls).toEqual([[[]]]);
    });

    it('has no position where the group has no stream', async () => {
        const all = await connected({}, { epoch: '', seq: 0, state: true });
        const state = nextEvent(all.service, 'state');
        all.connection.send({ type: 'state', data: { messages: rows, complete: true } });
        expect(await state).toEqual([rows]);
        expect(await askedAgain(all)).toBe('');
    });

    it('has a view, which its changes move and a reconnect gives', async () => {
        const all = await connected({}, welcome);
        const { service, connection } = all;
        const handled = vi.spyOn(service, 'handleMessage');
        const data = { ...position, view: 'k3x.17', messages: [], complete: true };
        connection.send({ type: 'state', data });
        connection.send({ type: 'changes', data: { view: 'k3x.18', messages: rows } });
        connection.send({ type: 'last' });
        await nextEvent(service, 'last');
        expect(handled.mock.calls.slice(0, 3)).toEqual(rows.map((row) => [row]));
        expect(await askedAgain(all)).toBe('?epoch=m9a&seq=3&view=k3x.18');
    });

    it('is not hindered by a change that cannot be handled', async () => {
        vi.spyOn(console, 'error').mockImplementation(() => {});
        const { service, connection } = await connected();
        vi.spyOn(service, 'handleMessage').mockImplementationOnce(() => {
            throw new Error('of a handler');
        });
        const seen = vi.fn();
        service.on('order_saved', seen);
        connection.send({ type: 'changes', data: { view: 'k3x.18', messages: rows } });
        connection.send({ type: 'last' });
        await nextEvent(service, 'last');
        expect(seen.mock.calls).toEqual(rows.slice(1).map((row) => [row]));
    });
});

describe("the page's user", () => {
    const pageData = JSON.stringify({ epoch: 'k3x', seq: 17, page_user: 'a-b_c' });

    it('is handed to the server unread, also after a resync', async () => {
        const { server, service, connection } = await connected({ pageData });
        expect(connection.url.search).toBe('?epoch=k3x&seq=17&page_user=a-b_c');
        const resync = nextEvent(service, 'resync');
        connection.send({ type: 'resync', data: { epoch: 'm9a', seq: 3 } });
        await resync;
        connection.cut();
        const { search } = (await server.nextConnection()).url;
        expect(search).toBe('?epoch=m9a&seq=3&page_user=a-b_c');
    });

    it('is final where the visitor is another by now', async () => {
        const { server, service, connection } = await connected({ pageData, probeDelay: 2 });
        connection.close(4409);
        const [, { code }] = await nextStatus(service, 'error');
        expect([code, server.connectionCount]).toEqual([4409, 1]);
    });
});

describe('after a long outage', () => {
    it('connects by itself, when it was asked to', async () => {
        const server = await startServer();
        const port = await deadPort();
        let endpoint = `ws://127.0.0.1:${port}/`;
        const service = makeService({ endpoint: () => endpoint, maxAttempts: 2, probeDelay: 4 });
        const probing = nextEvent(service, 'connectionStatus', (status, { attempt, delay }) => {
            return status === 'disconnected' && attempt === 2 && delay >= 2;
        });
        const connecting = service.connect();
        await probing;
        await probing;
        endpoint = '/ws/orders/1/';
        await connecting;
        await server.nextConnection();
        expect(service.status).toBe('connected');
        expect(service.errors).toEqual([]);
    });
});

describe('frames that come', () => {
    it('are events of their type', async () => {
        const { service, connection } = await connected();
        const frame = { type: 'status_update', data: { ok: true } };
        connection.send(frame);
        expect(await nextEvent(service, 'status_update')).toEqual([frame]);
    });

    it('are not the protocol’s own', async () => {
        const { service, connection } = await connected();
        const handled = vi.spyOn(service, 'handleMessage');
        for (const type of ['welcome', 'pong', 'resync', 'state'])
            connection.send({ type, data: { messages: [] } });
        connection.send({ type: 'status_update' });
        await nextEvent(service, 'status_update');
        expect(handled.mock.calls).toEqual([[{ type: 'status_update' }]]);
    });

    it('do not stop when one of them cannot be handled', async () => {
        const report = vi.spyOn(console, 'error').mockImplementation(() => {});
        const { service, connection } = await connected();
        const fault = new Error('of a handler');
        vi.spyOn(service, 'handleMessage').mockImplementationOnce(() => {
            throw fault;
        });
        connection.send({ type: 'first' });
        connection.send({ type: 'second' });
        await nextEvent(service, 'second');
        expect(report).toHaveBeenCalledWith(fault);
    });

    it('are an error when they are not JSON, and the connection goes on', async () => {
        const { service, connection } = await connected();
        connection.send('<html>');
        connection.send({ type: 'status_update' });
        await nextEvent(service, 'status_update');
        expect(service.errors).toMatchObject([{ code: 'invalid_json' }]);
    });

    it('are an error with what the server says of it', async () => {
        const { service, connection } = await connected();
        const data = { code: 'rate_limited', message: 'Slow down.', retry_after: 2 };
        connection.send({ type: 'error', data });
        await nextEvent(service, 'error');
        expect(service.errors).toMatchObject([{ code: data.code, message: data.message, data }]);
    });
});

describe('messages that go', () => {
    it('wait for the connection, and keep their order', async () => {
        const server = await startServer();
        const service = makeService();
        service.on('connectionStatus', (status) => {
            if (status === 'connected') service.send({ type: 'third' });
        });
        service.send({ type: 'first' });
        service.send({ type: 'second' });
        service.connect();
        const connection = await server.nextConnection();
        const frames = [];
        for (let i = 0; i < 3; i += 1) frames.push((await connection.nextMessage()).type);
        expect(frames).toEqual(['first', 'second', 'third']);
    });

    it('wait while a connection closes', async () => {
        const server = await startServer();
        /** @type {WebSocket[]} */
        const sockets = [];
        const Recorded = class extends WebSocket {
            /** @param {string} url */
            constructor(url) {
                super(url);
                sockets.push(this);
            }
        };
        vi.stubGlobal('WebSocket', Recorded);
        const service = makeService();
        await service.connect();
        await server.nextConnection();
        sockets[0].close();
        expect([service.status, service.isConnected]).toEqual(['connected', false]);
        service.send({ type: 'place_order' });
        const connection = await server.nextConnection();
        expect(await connection.nextMessage()).toEqual({ type: 'place_order' });
    });

    it('are an error when too many wait', () => {
        const service = makeService({ queueLimit: 1 });
        service.send({ type: 'first' });
        service.send({ type: 'second' });
        expect(service.errors).toMatchObject([{ code: 'queue_full', data: { type: 'second' } }]);
    });

    it('are an error when they waited too long', () => {
        vi.useFakeTimers();
        const service = makeService();
        service.send({ type: 'first' });
        vi.advanceTimersByTime(30_000);
        expect(service.errors).toMatchObject([{ code: 'queue_expired', data: { type: 'first' } }]);
    });

    it('are an error when the page closes the connection before', () => {
        const service = makeService();
        service.send({ type: 'first' });
        service.close();
        expect(service.errors).toMatchObject([{ code: 'closed', data: { type: 'first' } }]);
    });

    it('are not sent when they are larger than the greeting allows', async () => {
        const { service, connection } = await connected({}, { max_bytes: 30 });
        service.send({ type: 'a', data: '€€€€' }); // 24 characters, 34 bytes
        service.send({ type: 'a', data: '$$$$' });
        expect(await connection.nextMessage()).toEqual({ type: 'a', data: '$$$$' });
        expect(service.errors).toMatchObject([{ code: 'too_large', data: { data: '€€€€' } }]);
    });
});

describe('request', () => {
    it('resolves with the frame that answers, and emits no event for it', async () => {
        const { service, connection } = await connected();
        const handled = vi.spyOn(service, 'handleMessage');
        const answer = service.request({ type: 'place_order', data: { item: 1 } });
        const { ref, ...frame } = await connection.nextMessage();
        expect(frame).toEqual({ type: 'place_order', data: { item: 1 } });
        connection.send({ type: 'place_order_result', ref, data: { id: 7 } });
        expect(await answer).toEqual({ type: 'place_order_result', ref, data: { id: 7 } });
        expect(handled).not.toHaveBeenCalled();
    });

    it('gives each its own answer', async () => {
        const { service, connection } = await connected();
        const answers = ['a', 'b'].map((type) => service.request({ type }));
        const refs = [(await connection.nextMessage()).ref, (await connection.nextMessage()).ref];
        for (const ref of [...refs].reverse()) {
            connection.send({ type: 'result', ref, data: ref });
        }
        expect((await Promise.all(answers)).map(({ data }) => data)).toEqual(refs);
    });

    it('rejects with what the server refuses, and emits no error', async () => {
        const { service, connection } = await connected();
        const answer = service.request({ type: 'place_order' });
        const { ref } = await connection.nextMessage();
        const data = { code: 'sold_out', message: 'None is left.' };
        connection.send({ type: 'error', ref, data });
        await expect(answer).rejects.toMatchObject({ ...data, data });
        expect(service.errors).toEqual([]);
    });

    it('rejects when no answer comes in time; a late one is a frame like others', async () => {
        const { service, connection } = await connected();
        const answer = service.request({ type: 'place_order' }, { timeout: 20 });
        const rejected = expect(answer).rejects.toMatchObject({ code: 'timeout' });
        const { ref } = await connection.nextMessage();
        await rejected;
        connection.send({ type: 'place_order_result', ref });
        await nextEvent(service, 'place_order_result');
    });

    it('rejects when the connection is lost, and is not sent again', async () => {
        const { server, service, connection } = await connected();
        const answer = service.request({ type: 'place_order' });
        await connection.nextMessage();
        connection.cut();
        await expect(answer).rejects.toMatchObject({ code: 'connection_lost' });
        service.send({ type: 'next' });
        expect((await (await server.nextConnection()).nextMessage()).type).toBe('next');
    });

    it('waits for a connection, across failed attempts', async () => {
        const server = await startServer();
        const endpoint = vi.fn(async () => '/ws/orders/1/').mockRejectedValueOnce(new Error());
        const service = makeService({ endpoint });
        service.connect();
        const answer = service.request({ type: 'place_order' });
        const connection = await server.nextConnection();
        const { ref } = await connection.nextMessage();
        connection.send({ type: 'place_order_result', ref });
        expect(await answer).toEqual({ type: 'place_order_result', ref });
    });

    it('is not sent once its time is over', async () => {
        const server = await startServer();
        const service = makeService();
        const answer = service.request({ type: 'late' }, { timeout: 5 });
        await expect(answer).rejects.toMatchObject({ code: 'timeout' });
        service.send({ type: 'next' });
        service.connect();
        expect((await (await server.nextConnection()).nextMessage()).type).toBe('next');
    });

    it('rejects what will not be sent, and emits no error', async () => {
        const service = makeService({ maxBytes: 100, queueLimit: 1 });
        const data = 'x'.repeat(100);
        await expect(service.request({ type: 'a', data })).rejects.toMatchObject({
            code: 'too_large',
        });
        const first = service.request({ type: 'a' });
        await expect(service.request({ type: 'b' })).rejects.toMatchObject({ code: 'queue_full' });
        service.close();
        await expect(first).rejects.toMatchObject({ code: 'closed' });
        expect(service.errors).toEqual([]);
    });

    it('rejects what cannot be written', async () => {
        const service = makeService();
        await expect(service.request({ type: 'a', data: 1n })).rejects.toThrow(TypeError);
    });
});

describe('the heartbeat', () => {
    it('emits the round-trip time once connected', async () => {
        const server = await startServer();
        const service = makeService();
        service.connect();
        const [milliseconds] = await nextEvent(service, 'latency');
        expect(milliseconds).toBeGreaterThan(0);
        expect(server.connectionCount).toBe(1);
    });

    it('beats as the greeting says', async () => {
        const { connection } = await connected({ heartbeat: 0 }, { heartbeat: 0.01 });
        for (let i = 0; i < 4; i += 1) await connection.nextPing();
    });

    it('drops a half-open connection', async () => {
        vi.useFakeTimers();
        const { server, connection } = await connected({ pongTimeout: 5_000 }, { heartbeat: 10 });
        connection.goSilent();
        vi.advanceTimersByTime(10_000 + 5_000 + FAST.maxDelay);
        await server.nextConnection();
        expect(server.connectionCount).toBe(2);
    });

    it('drops one that was half-open from the start', async () => {
        const onConnection = vi.fn((connection) => connection.goSilent());
        const server = await startServer({ welcome: false, onConnection });
        makeService({ heartbeat: 5, pongTimeout: 5 }).connect();
        await server.nextConnection();
        await server.nextConnection();
    });
});

describe('a server that drains', () => {
    it('is left within the time it gives, at no cost of an attempt', async () => {
        const { server, service, connection } = await connected();
        const back = nextStatus(service, 'connected');
        connection.send({ type: 'draining', data: { within: 0.01 } });
        await back;
        await connection.nextClose();
        expect(server.connectionCount).toBe(2);
        expect(service.statuses.slice(2)).toEqual([
            ['connecting', { attempt: 0 }],
            ['connected', { attempt: 0 }],
        ]);
    });

    // Those for whom it would be too early are spread as well.
    it.each([
        [0, 2_000],
        [0.1, 2_800],
        [0.5, 6_000],
    ])('is left at a random moment of that time: %s', async (random, milliseconds) => {
        vi.spyOn(Math, 'random').mockReturnValue(random);
        vi.useFakeTimers();
        const { service, connection } = await connected({ minDelay: 2_000, maxDelay: 4_000 });
        connection.send({ type: 'draining', data: { within: 10 } });
        connection.send({ type: 'last' });
        await nextEvent(service, 'last');
        vi.advanceTimersByTime(milliseconds - 1);
        expect(service.status).toBe('connected');
        vi.advanceTimersByTime(1);
        expect(service.status).toBe('connecting');
    });

    it('is left once, however often it says so', async () => {
        vi.useFakeTimers();
        const { service, connection } = await connected();
        const timers = vi.getTimerCount();
        for (let i = 0; i < 3; i += 1) connection.send({ type: 'draining', data: { within: 10 } });
        connection.send({ type: 'last' });
        await nextEvent(service, 'last');
        expect(vi.getTimerCount()).toBe(timers + 1);
    });

    it('is not left amid a request', async () => {
        const { server, service, connection } = await connected();
        vi.useFakeTimers();
        const answer = service.request({ type: 'place_order' });
        const { ref } = await connection.nextMessage();
        connection.send({ type: 'draining', data: { within: 0.01 } });
        connection.send({ type: 'last' });
        await nextEvent(service, 'last');
        vi.advanceTimersByTime(1_000);
        expect(service.status).toBe('connected');
        connection.send({ type: 'place_order_result', ref });
        await answer;
        vi.advanceTimersByTime(100);
        await server.nextConnection();
        expect(service.status).not.toBe('disconnected');
    });
});

describe('the contract of the page', () => {
    const contract = 'orders:3:ab12';
    const pageData = JSON.stringify({ contract });
    const queryOf = (/** @type {any} */ { url }) => Object.fromEntries(url.searchParams);

    it('is sent with each connect', async () => {
        const { server, connection } = await connected({ pageData });
        expect(queryOf(connection)).toEqual({ contract });
        connection.cut();
        expect(queryOf(await server.nextConnection())).toMatchObject({ contract });
    });

    it('is in the event `outdated`, and the connection goes on', async () => {
        const { service, connection } = await connected({ pageData });
        const outdated = nextEvent(service, 'outdated');
        connection.send({ type: 'welcome', data: { outdated: true } });
        expect(await outdated).toEqual([contract]);
        expect(service.isConnected).toBe(true);
    });

    it('makes no event of any other welcome', async () => {
        const { service, connection } = await connected({ pageData });
        const outdated = vi.fn();
        service.on('outdated', outdated);
        connection.send({ type: 'welcome', data: {} });
        connection.send({ type: 'last' });
        await nextEvent(service, 'last');
        expect(outdated).not.toHaveBeenCalled();
    });

    it('comes with the time since the first 1012, until a welcome', async () => {
        vi.spyOn(Math, 'random').mockReturnValue(0);
        const clock = vi.spyOn(Date, 'now').mockReturnValue(10_000);
        const server = await startServer({ welcome: false });
        const service = makeService({ pageData });
        service.connect();
        const first = await server.nextConnection();
        first.close(1012);
        const second = await server.nextConnection();
        clock.mockReturnValue(30_000);
        second.close(1012);
        const third = await server.nextConnection();
        expect([first, second, third].map((each) => queryOf(each).waited)).toEqual([
            undefined,
            '0',
            '20000',
        ]);
        third.send({ type: 'welcome', data: {} });
        third.send({ type: 'last' });
        await nextEvent(service, 'last');
        third.close(1011);
        expect(queryOf(await server.nextConnection())).not.toHaveProperty('waited');
    });
});

describe('the module', () => {
    const LOADED = Symbol.for('BaseWebSocketService');
    const page = /** @type {any} */ (globalThis);

    it.each([
        ['warns', 'of a second address', 'http://example.com/static/websocket.abc.js', 1],
        ['does not warn', 'of its own', page[LOADED], 0],
    ])('%s %s', async (_, __, first, count) => {
        const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
        vi.stubGlobal(LOADED, first);
        onTestFinished(() => void vi.unstubAllGlobals());
        vi.resetModules();
        await import('/static/js/services/websocket.js');
        expect(warn).toHaveBeenCalledTimes(count);
    });
});
