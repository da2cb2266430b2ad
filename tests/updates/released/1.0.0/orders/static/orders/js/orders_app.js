import '/static/js/components/connection_status.js';
import { OrdersWebSocketService } from './services/orders_websocket.js';

/** @typedef {import('/static/js/components/connection_status.js').ConnectionStatus} ConnectionStatus */

/** The page of orders: sends what is typed into its forms, and lists what arrives. */
export class OrdersApp {
    /** @param {HTMLElement} root the element with data-websocket */
    constructor(root) {
        this.root = root;
        this.texts = this.find('[data-log]').dataset;
        this.status = /** @type {ConnectionStatus} */ (this.find('connection-status'));
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
        this.websocket.on('orderPlaced', ({ data }) => {
            this.log(this.texts.onOrderPlaced, data.text);
        });
        this.websocket.on('orderCancelled', ({ data }) => {
            this.log(this.texts.onOrderCancelled, data.text);
        });
        this.websocket.on('resync', () => this.status.reload());
        this.websocket.on('error', (error) => this.log(this.texts.error, error.message, 'error'));
        this.onSubmit('place-order', (text) => {
            return this.websocket.placeOrder({ text });
        });
        this.onSubmit('cancel-order', (text) => {
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
                this.log(this.texts.done, text);
            } catch (error) {
                this.log(this.texts.error, /** @type {Error} */ (error).message, 'error');
            }
        });
    }

    /**
     * @param {string | undefined} label in the page's language
     * @param {string} text
     * @param {string} [className]
     */
    log(label, text, className = '') {
        const item = document.createElement('li');
        item.className = className;
        const time = new Date().toLocaleTimeString(document.documentElement.lang);
        for (const [tag, content] of Object.entries({ strong: label, span: text, time })) {
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
const root = document.querySelector('[data-websocket]');
if (root) new OrdersApp(root).initialize();
