/** Connections in 8 s to a server that accepts and then closes, by the code of the close. */
import partysocket from 'partysocket/ws';
import { Socket } from 'phoenix';
import reconnecting from 'reconnecting-websocket';
import { WebSocket, WebSocketServer } from 'ws';
import { SERVICES } from './services.js';

const SECONDS = 8;
const RECOVERABLE = [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4408, 4429];
const FINAL = [1002, 1003, 1007, 1008, 1009, 1010, 4400, 4401, 4403, 4404];

/** Without a listener for its `error`, ws throws; a browser does not. */
class BrowserWebSocket extends WebSocket {
    constructor(...args) {
        super(...args);
        this.on('error', () => {});
    }
}
globalThis.WebSocket = BrowserWebSocket;
globalThis.location = { href: 'http://127.0.0.1/' };
const { BaseWebSocketService } = await import(new URL('websocket.js', SERVICES));

/** How each is started on an address, with its defaults; gives what ends it. */
const PEERS = {
    'this service': (endpoint) => {
        const service = new BaseWebSocketService({ endpoint });
        service.on('error', () => {});
        service.connect();
        return () => service.close();
    },
    'reconnecting-websocket': (url) => {
        const socket = new reconnecting(url, [], { WebSocket: BrowserWebSocket });
        return () => socket.close();
    },
    partysocket: (url) => {
        const socket = new partysocket(url, [], { WebSocket: BrowserWebSocket });
        return () => socket.close();
    },
    phoenix: (url) => {
        const socket = new Socket(url, { transport: BrowserWebSocket });
        socket.connect();
        return () => socket.disconnect();
    },
};

async function count(start, code) {
    let connections = 0;
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    server.on('connection', (socket) => {
        connections += 1;
        if (code === 1006) socket.terminate();
        else if (code === 1005) socket.close();
        else socket.close(code);
    });
    await new Promise((resolve) => server.once('listening', resolve));
    const stop = start(`ws://127.0.0.1:${server.address().port}`);
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1_000));
    const counted = connections;
    stop();
    server.close();
    return counted;
}

// One after the other of the peers, each with all codes at once.
const rows = Object.fromEntries([...RECOVERABLE, ...FINAL].map((code) => [code, {}]));
for (const [name, start] of Object.entries(PEERS)) {
    await Promise.all(
        Object.keys(rows).map(async (code) => {
            rows[code][name] = await count(start, Number(code));
        }),
    );
}
console.table(rows);
process.exit();
