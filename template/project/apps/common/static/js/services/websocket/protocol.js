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
 * Members other than the position are left for later versions.
 * @param {string} [text] what the view's page_data() returned; empty for none
 * @returns {Position | undefined} undefined where the server could not tell it
 */
export function parsePageData(text) {
    try {
        const { epoch, seq } = JSON.parse(text || '{}');
        return epoch && seq >= 0 ? { epoch, seq } : undefined;
    } catch {
        throw new TypeError(`pageData must be the text of {{ page_data }}, not ${text}`);
    }
}

/** @param {string} endpoint @param {Position} [position] to continue from */
export function socketURL(endpoint, position) {
    const url = new URL(endpoint, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    for (const [name, value] of Object.entries(position ?? {}))
        url.searchParams.set(name, `${value}`);
    return url.href;
}
