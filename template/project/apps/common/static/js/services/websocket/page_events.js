const EVENTS = ['online', 'visibilitychange', 'resume', 'pageshow', 'pagehide'];

/**
 * Watch for events after which a connection needs a look: the page wakes, returns or is left.
 * @param {(isLeaving: boolean) => void} callback
 * @returns {() => void} stops watching
 */
export function watchPageEvents(callback) {
    const listeners = new AbortController();
    // Captured: `resume` and `visibilitychange` are events of the document.
    const options = { capture: true, signal: listeners.signal };
    const onEvent = (/** @type {Event} */ { type }) => {
        const isHidden = globalThis.document?.visibilityState === 'hidden';
        if (type !== 'visibilitychange' || !isHidden) callback(type === 'pagehide');
    };
    for (const name of EVENTS) globalThis.addEventListener?.(name, onEvent, options);
    return () => listeners.abort();
}
