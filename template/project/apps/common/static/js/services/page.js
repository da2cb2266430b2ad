const EVENTS = ['online', 'visibilitychange', 'resume', 'pageshow', 'pagehide'];

/**
 * @param {(isLeaving: boolean) => void} callback also when it is back, in whatever way
 * @returns {() => void} its own undoing
 */
export function watchPage(callback) {
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
