// Node's ws, without compression: PORT=8000 node node_ws.js. Hands a publisher's frame to every subscriber, or echoes.
const { WebSocketServer } = require('ws');

const server = new WebSocketServer({ port: +process.env.PORT, host: '127.0.0.1', perMessageDeflate: false });
const rooms = new Map();

server.on('connection', (socket, { url }) => {
    if (url.startsWith('/ws/echo/')) {
        socket.on('message', (text) => {
            JSON.parse(text);
            socket.send(text, { binary: false });
        });
        return;
    }
    const members = rooms.get(url) ?? rooms.set(url, new Set()).get(url);
    members.add(socket);
    socket.on('close', () => members.delete(socket));
    socket.on('message', (text) => {
        const { data } = JSON.parse(text);
        const news = Buffer.from(JSON.stringify({ type: 'news', data: { text: data.text } }));
        for (let i = 0; i < (data.times ?? 1); i += 1)
            for (const member of members) member.send(news, { binary: false });
    });
});
