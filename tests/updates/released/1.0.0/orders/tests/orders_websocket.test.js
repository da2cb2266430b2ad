import { expect, onTestFinished, test } from 'vitest';

import { nextEvent, startServer } from '../../common/testing/websocket_server.js';
import { OrdersWebSocketService } from '../static/orders/js/services/orders_websocket.js';

/** @type {import('../static/orders/js/services/orders_contract.js').PlaceOrder} */
const PLACE_ORDER = {
    item: 'item',
    quantity: 1,
};
/** @type {import('../static/orders/js/services/orders_contract.js').CancelOrder} */
const CANCEL_ORDER = {
    id: 7,
};
const ORDER_PLACED = {
    ...PLACE_ORDER,
};
const ORDER_CANCELLED = {
    ...CANCEL_ORDER,
};

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
    const answer = service.placeOrder(PLACE_ORDER);
    const { ref, ...message } = await connection.nextMessage();
    expect(message).toEqual({ type: 'place_order', data: PLACE_ORDER });
    connection.send({ type: 'place_order_result', ref });
    await answer;
});

test('cancelOrder sends its data and resolves with the answer', async () => {
    const { service, connection } = await connect();
    const answer = service.cancelOrder(CANCEL_ORDER);
    const { ref, ...message } = await connection.nextMessage();
    expect(message).toEqual({ type: 'cancel_order', data: CANCEL_ORDER });
    connection.send({ type: 'cancel_order_result', ref });
    await answer;
});

test('order_placed is emitted as orderPlaced', async () => {
    const { service, connection } = await connect();
    const emitted = nextEvent(service, 'orderPlaced');
    const message = { type: 'order_placed', data: ORDER_PLACED };
    connection.send(message);
    expect(await emitted).toEqual([message]);
});

test('order_cancelled is emitted as orderCancelled', async () => {
    const { service, connection } = await connect();
    const emitted = nextEvent(service, 'orderCancelled');
    const message = { type: 'order_cancelled', data: ORDER_CANCELLED };
    connection.send(message);
    expect(await emitted).toEqual([message]);
});
