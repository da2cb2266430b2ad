import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { watchPageEvents } from '/static/js/services/websocket/page_events.js';

describe('watchPageEvents', () => {
    const callback = vi.fn();
    /** @type {EventTarget} */
    let page;

    beforeEach(() => {
        page = new EventTarget();
        callback.mockReset();
        vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
        vi.stubGlobal('document', { visibilityState: 'visible' });
    });
    afterEach(() => void vi.unstubAllGlobals());

    it.each(['online', 'visibilitychange', 'resume', 'pageshow'])('%s brings it back', (name) => {
        watchPageEvents(callback);
        page.dispatchEvent(new Event(name));
        expect(callback.mock.calls).toEqual([[false]]);
    });

    it('pagehide makes it leave', () => {
        watchPageEvents(callback);
        page.dispatchEvent(new Event('pagehide'));
        expect(callback.mock.calls).toEqual([[true]]);
    });

    it('does not call a tab back that is hidden', () => {
        vi.stubGlobal('document', { visibilityState: 'hidden' });
        watchPageEvents(callback);
        page.dispatchEvent(new Event('visibilitychange'));
        expect(callback).not.toHaveBeenCalled();
    });

    it('removes all that it added', () => {
        const undo = watchPageEvents(callback);
        undo();
        for (const name of ['online', 'visibilitychange', 'resume', 'pageshow', 'pagehide']) {
            page.dispatchEvent(new Event(name));
        }
        expect(callback).not.toHaveBeenCalled();
    });

    it('listens on the way down, where the events of the document pass', () => {
        const add = vi.fn();
        vi.stubGlobal('addEventListener', add);
        watchPageEvents(callback);
        expect(add.mock.calls.map(([, , { capture }]) => capture)).toEqual(Array(5).fill(true));
    });

    it('watches nothing where there is no page', () => {
        vi.stubGlobal('addEventListener', undefined);
        expect(() => watchPageEvents(callback)()).not.toThrow();
    });
});
