import '/static/js/components/connection_status.js';
import { OrdersWebSocketService } from './services/orders_websocket.js';

/** @typedef {import('/static/js/components/connection_status.js').ConnectionStatus} ConnectionStatus */

/** The live page of orders: sends what its forms say, and lists what arrives. */
export class OrdersApp {
    /** @param {HTMLElement} root the element with data-orders-id */
    constructor(root) {
        this.root = root;
        const { ordersId: id, epoch, seq } = root.dataset;
        this.websocket = new OrdersWebSocketService(String(id), {
            position: epoch ? { epoch, seq: Number(seq) } : undefined,
        });
    }

    initialize() {
        this.setupEventListeners();
        const status = /** @type {ConnectionStatus} */ (this.find('connection-status'));
        status.service = this.websocket;
        this.websocket.connect();
    }

    setupEventListeners() {
        this.websocket.on('orderPlaced', ({ data }) => {
            this.log('Order placed', data.text);
        });
        this.websocket.on('orderCancelled', ({ data }) => {
            this.log('Order cancelled', data.text);
        });
        this.websocket.on('resync', () => location.reload());
        this.websocket.on('error', (error) => this.log('Error', error.message, 'error'));
        this.onSubmit('placeOrder', (text) => {
            return this.websocket.placeOrder({ text });
        });
        this.onSubmit('cancelOrder', (text) => {
            return this.websocket.cancelOrder({ text });
        });
    }

    /**
     * @param {string} action the form's data-action
     * @param {(text: string) => Promise<unknown>} send
     */
    onSubmit(action, send) {
        const form = /** @type {HTMLFormElement} */ (this.find(`[data-action="${action}"]`));
        form.addEventListener('submit', async (event) => {
            event.preventDefault();
            const text = String(new FormData(form).get('text'));
            try {
                await send(text);
                form.reset();
                this.log('Done', text);
            } catch (error) {
                this.log('Error', /** @type {Error} */ (error).message, 'error');
            }
        });
    }

    /**
     * @param {string} kind
     * @param {string} text
     * @param {string} [className]
     */
    log(kind, text, className = '') {
        const item = document.createElement('li');
        item.className = className;
        const time = new Date().toLocaleTimeString();
        for (const [tag, content] of Object.entries({ strong: kind, span: text, time })) {
            item.append(Object.assign(document.createElement(tag), { textContent: content }));
        }
        this.find('[data-log]').prepend(item);
        this.find('[data-log-empty]').hidden = true;
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

/** @type {HTMLElement | null} */
const root = document.querySelector('[data-orders-id]');
if (root) new OrdersApp(root).initialize();
