// Node's socket.io with the WebSocket transport alone, tuned as its documentation has it: PORT=8000
const { createServer } = require('node:http');
const { Server } = require('socket.io');

const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false });
io.engine.on('connection', (socket) => {
    socket.request = null; // frees the memory of the first request
});

io.on('connection', (socket) => {
    const { room } = socket.handshake.auth;
    if (room !== '/ws/echo/') socket.join(room);
    socket.on('echo', (data, acknowledge) => acknowledge(data));
    socket.on('publish', ({ text, times = 1 }) => {
        for (let i = 0; i < times; i += 1) io.to(room).emit('news', { text });
    });
});
http.listen(+process.env.PORT, '127.0.0.1');
