/** The JavaScript of docs/websockets.md, in Node; test_websockets_guide.py runs its page in a browser. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { nextEvent, startServer } from '../testing/websocket_server.js';

const GUIDE = readFileSync('docs/websockets.md', 'utf8');
const BLOCKS = [...GUIDE.matchAll(/^```javascript\n\/\/ (\S+)\n.*?^```$/gms)];
const JS = 'apps/tickets/static/tickets/js';

const folder = mkdtempSync(join(tmpdir(), 'guide-'));
afterAll(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, 'apps'));
for (const name of ['node_modules', 'apps/common'])
    symlinkSync(resolve(name), join(folder, name), 'junction');
for (const [block, path] of BLOCKS) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), block.replace(/^```.*$/gm, ''));
}

/** @type {Set<string>} */
const imported = new Set();

/** @param {string} path of a block @returns {Promise<any>} */
function load(path) {
    imported.add(path);
    return import(join(folder, path));
}

// The guide's own test, which runs among these.
await load('apps/tickets/tests/tickets_websocket.test.js');
const { TicketsWebSocketService } = await load(`${JS}/services/tickets_websocket.js`);
const { showStatus } = await load(`${JS}/show_status.js`);

async function connect() {
    const server = await startServer();
    const service = new TicketsWebSocketService('1', { maxAttempts: 1 });
    onTestFinished(() => service.close());
    const shown = vi.fn();
    showStatus(service, shown);
    await service.connect();
    return { service, shown, connection: await server.nextConnection() };
}

describe('the guide', () => {
    it('has no other JavaScript than what runs here, and in a browser', () => {
        const inBrowser = [`${JS}/tickets_app.js`];
        const refused = [`${JS}/wrong_imports.js`];
        const paths = BLOCKS.map(([, path]) => path);
        expect(paths.sort()).toEqual([...imported, ...inBrowser, ...refused].sort());
        expect(GUIDE.match(/^```(javascript|js|typescript|ts)\b/gm)).toHaveLength(paths.length);
    });

    it('connects to its route', async () => {
        const { connection } = await connect();
        expect(connection.url.pathname).toBe('/ws/tickets/1/');
    });

    it('emits a reply', async () => {
        const { service, connection } = await connect();
        const emitted = nextEvent(service, 'replyAdded');
        const frame = { type: 'reply_added', seq: 1, data: { author: 'ann', text: 'hello' } };
        connection.send(frame);
        expect(await emitted).toEqual([frame]);
    });

    it('shows each status', async () => {
        const { service, shown, connection } = await connect();
        const ended = nextEvent(service, 'error');
        connection.close(4403, 'Not yours.');
        await ended;
        expect(shown.mock.calls.flat()).toEqual([
            'connecting',
            'connected',
            'given up: 4403 Not yours.',
        ]);
    });

    it('shows when it reconnects', async () => {
        const { service, shown, connection } = await connect();
        const lost = nextEvent(service, 'connectionStatus', (status) => status === 'disconnected');
        connection.cut();
        await lost;
        expect(shown.mock.lastCall).toEqual([expect.stringMatching(/^next attempt in \d+/)]);
    });
});
