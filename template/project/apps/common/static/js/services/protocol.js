/** @typedef {{ epoch: string, seq: number }} Position of the last numbered frame seen */

export class SocketError extends Error {
    /**
     * @param {string | number} code a word, or the number of a close
     * @param {string} [message]
     * @param {any} [data] of the server's error, or the message that was not sent
     */
    constructor(code, message, data) {
        super(message || `WebSocket error: ${code}`);
        this.code = code;
        this.data = data;
    }
}

/** Whether another attempt would fail, too: 44xx, but silence and haste. @param {number} code */
export function isFinal(code) {
    if (code >= 4400 && code < 4500) return code !== 4408 && code !== 4429;
    return code === 1002 || code === 1003 || (code >= 1007 && code <= 1010);
}

/** @param {string} endpoint @param {Position} [position] to continue from */
export function socketURL(endpoint, position) {
    const url = new URL(endpoint, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    for (const [name, value] of Object.entries(position ?? {}))
        url.searchParams.set(name, `${value}`);
    return url.href;
}
