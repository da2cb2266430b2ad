import '/static/js/components/connection_status.js';
import { EventList } from '/static/js/components/event_list.js';
import { LiveForm } from '/static/js/components/live_form.js';
import { OrdersWebSocketService } from './services/orders_websocket.js';

/** @typedef {import('/static/js/components/connection_status.js').ConnectionStatus} ConnectionStatus */

/** The page of orders: sends its forms, lists what arrives. */
export class OrdersApp {
    /** @param {HTMLElement} root the element with data-websocket */
    constructor(root) {
        this.root = root;
        this.status = /** @type {ConnectionStatus} */ (this.find('connection-status'));
        this.events = new EventList(this.find('[data-events]'));
        const { id, websocket } = root.dataset;
        this.websocket = new OrdersWebSocketService(String(id), {
            pageData: websocket,
            probeDelay: 60_000, // ms: after a long outage the page recovers by itself
        });
    }

    initialize() {
        this.setupEventListeners();
        this.status.service = this.websocket;
        this.websocket.connect();
    }

    setupEventListeners() {
        this.websocket.on('orderPlaced', ({ data }) => this.events.add('orderPlaced', data));
        this.websocket.on('orderCancelled', ({ data }) => this.events.add('orderCancelled', data));
        this.websocket.on('resync', () => this.status.reload());
        this.websocket.on('outdated', (contract) => this.status.reload(contract));
        new LiveForm(this.form('place-order'), (data) => this.websocket.placeOrder(data));
        new LiveForm(this.form('cancel-order'), (data) => this.websocket.cancelOrder(data));
    }

    /** @param {string} action the form's data-action */
    form(action) {
        return /** @type {HTMLFormElement} */ (this.find(`[data-action="${action}"]`));
    }

    /**
     * @param {string} selector
     * @returns {HTMLElement}
     */
    find(selector) {
        const found = this.root.querySelector(selector);
        if (!found) throw new Error(`The page has no ${selector}.`);
        return /** @type {HTMLElement} */ (found);
    }
}

const root = document.querySelector('[data-websocket]');
if (root instanceof HTMLElement) new OrdersApp(root).initialize();
