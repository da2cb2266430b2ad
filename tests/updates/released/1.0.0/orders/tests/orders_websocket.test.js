import { expect, onTestFinished, test } from 'vitest';

import { nextEvent, startServer } from '../../common/testing/websocket_server.js';
import { OrdersWebSocketService } from '../static/orders/js/services/orders_websocket.js';

const data = { text: 'hello' };

async function connect() {
    const server = await startServer();
    const service = new OrdersWebSocketService('1');
    onTestFinished(() => service.close());
    await service.connect();
    return { service, connection: await server.nextConnection() };
}

test('connects to the path of its feature', async () => {
    const { connection } = await connect();
    expect(connection.url.pathname).toBe('/ws/orders/1/');
});

test('placeOrder sends its data and resolves with the answer', async () => {
    const { service, connection } = await connect();
    const answer = service.placeOrder(data);
    const { ref, ...message } = await connection.nextMessage();
    expect(message).toEqual({ type: 'place_order', data });
    connection.send({ type: 'place_order_result', ref, data });
    expect((await answer).data).toEqual(data);
});

test('cancelOrder sends its data and resolves with the answer', async () => {
    const { service, connection } = await connect();
    const answer = service.cancelOrder(data);
    const { ref, ...message } = await connection.nextMessage();
    expect(message).toEqual({ type: 'cancel_order', data });
    connection.send({ type: 'cancel_order_result', ref, data });
    expect((await answer).data).toEqual(data);
});

test('order_placed is emitted as orderPlaced', async () => {
    const { service, connection } = await connect();
    const emitted = nextEvent(service, 'orderPlaced');
    connection.send({ type: 'order_placed', data });
    expect(await emitted).toEqual([{ type: 'order_placed', data }]);
});

test('order_cancelled is emitted as orderCancelled', async () => {
    const { service, connection } = await connect();
    const emitted = nextEvent(service, 'orderCancelled');
    connection.send({ type: 'order_cancelled', data });
    expect(await emitted).toEqual([{ type: 'order_cancelled', data }]);
});
