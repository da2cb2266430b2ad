// uWebSockets.js (C++) with its topics: echoes, or publishes to every subscriber of the path. PORT=8000
const { App, DISABLED } = require('@trufflesuite/uws-js-unofficial');

if (!App.toString().includes('[native code]')) throw new Error('no binary of uWebSockets.js fits this Node.js');

const app = App().ws('/*', {
    compression: DISABLED,
    idleTimeout: 120,
    maxPayloadLength: 64 * 1024,
    maxBackpressure: 1024 * 1024, // beyond it a socket misses what is published
    upgrade: (response, request, context) =>
        response.upgrade(
            { path: request.getUrl() },
            request.getHeader('sec-websocket-key'),
            request.getHeader('sec-websocket-protocol'),
            request.getHeader('sec-websocket-extensions'),
            context,
        ),
    open: (socket) => {
        const { path } = socket.getUserData();
        if (path !== '/ws/echo/') socket.subscribe(path);
    },
    message: (socket, bytes) => {
        const { path } = socket.getUserData();
        const { data } = JSON.parse(Buffer.from(bytes));
        if (path === '/ws/echo/') {
            socket.send(bytes);
            return;
        }
        const news = JSON.stringify({ type: 'news', data: { text: data.text } });
        for (let i = 0; i < (data.times ?? 1); i += 1) app.publish(path, news);
    },
});
app.listen('127.0.0.1', +process.env.PORT, () => {});
