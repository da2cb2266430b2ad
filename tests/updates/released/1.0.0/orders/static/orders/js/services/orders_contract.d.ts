// The contract of orders: `manage.py contract orders` writes this file from messages.py.
// number 1

/** action place_order */
export interface PlaceOrder {
    item: string; // {"kind": "text", "max": 200}
    quantity: number; // {"kind": "int", "min": 1, "max": 99}
}

/** action cancel_order */
export interface CancelOrder {
    id: number; // {"kind": "int"}
}

/** event order_placed */
export interface OrderPlaced {
    item: string; // {"kind": "text", "max": 200}
    quantity: number; // {"kind": "int", "min": 1, "max": 99}
}

/** event order_cancelled */
export interface OrderCancelled {
    id: number; // {"kind": "int"}
}

/** The arguments that listeners of the service's events receive. */
export interface Events {
    orderPlaced: [message: { type: 'order_placed'; data: OrderPlaced; seq?: number }];
    orderCancelled: [message: { type: 'order_cancelled'; data: OrderCancelled; seq?: number }];
}
