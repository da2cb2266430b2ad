import { BaseWebSocketService } from '/static/js/services/websocket.js';

/** @typedef {ConstructorParameters<typeof BaseWebSocketService>[0]} Options */
/** @typedef {{ type: 'order_placed', data: { text: string } }} OrderPlaced */
/** @typedef {{ type: 'order_cancelled', data: { text: string } }} OrderCancelled */
/** @typedef {{ type: 'place_order_result', data: { text: string } }} PlaceOrderResult */
/** @typedef {{ type: 'cancel_order_result', data: { text: string } }} CancelOrderResult */

/** The connection of a page of orders. */
export class OrdersWebSocketService extends BaseWebSocketService {
    /**
     * @param {string} id of which orders
     * @param {Partial<Options>} [options] of the base service
     */
    constructor(id, options = {}) {
        super({
            endpoint: `/ws/orders/${id}/`,
            ...options,
        });
    }

    /**
     * @param {{ text: string }} data
     * @returns {Promise<PlaceOrderResult>}
     */
    placeOrder(data) {
        return this.request({ type: 'place_order', data });
    }

    /**
     * @param {{ text: string }} data
     * @returns {Promise<CancelOrderResult>}
     */
    cancelOrder(data) {
        return this.request({ type: 'cancel_order', data });
    }

    /** @param {any} message */
    handleMessage(message) {
        switch (message.type) {
            case 'order_placed':
                this.emit('orderPlaced', message);
                break;
            case 'order_cancelled':
                this.emit('orderCancelled', message);
                break;
            default:
                console.warn('Unknown message type:', message.type);
        }
    }
}
