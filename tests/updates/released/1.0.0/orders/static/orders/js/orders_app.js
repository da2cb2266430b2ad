import '/static/js/components/connection_status.js';
import { EventList } from '/static/js/components/event_list.js';
import { LiveForm } from '/static/js/components/live_form.js';
import { OrdersWebSocketService } from './services/orders_websocket.js';

/** @typedef {import('/static/js/components/connection_status.js').ConnectionStatus} ConnectionStatus */

/** The page of orders: sends its forms, lists what arrives. */
export class OrdersApp {
    /** @param {HTMLElement} root the element with data-feature and data-websocket */
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
        this.setupForm('place-order', (data) => this.websocket.placeOrder(data));
        this.setupForm('cancel-order', (data) => this.websocket.cancelOrder(data));
    }

    /**
     * Send a form's values, where the page has the form: a visitor may not have the right to it.
     * @param {string} action the form's data-action
     * @param {(data: any) => Promise<unknown>} send
     */
    setupForm(action, send) {
        /** @type {HTMLFormElement | null} */
        const form = this.root.querySelector(`[data-action="${action}"]`);
        if (form) new LiveForm(form, send);
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

const root = document.querySelector('[data-feature="orders"]');
if (root instanceof HTMLElement) new OrdersApp(root).initialize();
