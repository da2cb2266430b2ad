import { BaseWebSocketService } from '/static/js/services/websocket.js';

/** @typedef {ConstructorParameters<typeof BaseWebSocketService>[0]} Options */

/**
 * The connection of a page of orders.
 * @extends {BaseWebSocketService<import('./orders_contract.js').Events>}
 */
export class OrdersWebSocketService extends BaseWebSocketService {
    /**
     * @param {string} id of which orders
     * @param {Partial<Options>} [options] of the base service
     */
    constructor(id, options = {}) {
        super({ endpoint: `/ws/orders/${id}/`, ...options });
    }

    /** @param {import('./orders_contract.js').PlaceOrder} data */
    placeOrder(data) {
        return this.request({ type: 'place_order', data });
    }

    /** @param {import('./orders_contract.js').CancelOrder} data */
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
