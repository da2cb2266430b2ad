/** @typedef {{ epoch: string, seq: number }} Position of the last broadcast received */

export class SocketError extends Error {
    /**
     * @param {string | number} code a name, or a close code
     * @param {string} [message]
     * @param {any} [data] of the server's error, or the message that was not sent
     */
    constructor(code, message, data) {
        super(message || `WebSocket error: ${code}`);
        this.code = code;
        this.data = data;
    }
}

/** Whether a retry would fail, too: 44xx, except 4408 (timeout) and 4429 (rate limit). @param {number} code */
export function isFinal(code) {
    if (code >= 4400 && code < 4500) return code !== 4408 && code !== 4429;
    return code === 1002 || code === 1003 || (code >= 1007 && code <= 1010);
}

/**
 * Other members than these are left for later versions.
 * @param {string} [text] what the view's page_data() returned; empty for none
 * @returns {{ position?: Position, page_user?: string, contract?: string, view?: string }} without
 *     what the server lacked
 */
export function parsePageData(text) {
    try {
        const { epoch, seq, page_user, contract } = JSON.parse(text || '{}');
        const position = epoch && seq >= 0 ? { epoch, seq } : undefined;
        return { position, page_user, contract };
    } catch {
        throw new TypeError(`pageData must be the text of {{ page_data }}, not ${text}`);
    }
}

/**
 * @param {string} endpoint a path below the site's prefix, which the import map names; or an address
 * @param {object} [query] the position to continue from, the page's user, contract and view
 */
export function socketURL(endpoint, query) {
    const element = globalThis.document?.querySelector('[data-prefix]');
    const prefix = element?.getAttribute('data-prefix') ?? '';
    const url = new URL(endpoint.replace(/^(?=\/(?!\/))/, prefix), location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    for (const [name, value] of Object.entries(query ?? {}))
        if (value !== undefined) url.searchParams.set(name, `${value}`);
    return url.href;
}
