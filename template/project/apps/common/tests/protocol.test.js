import { afterEach, describe, expect, it, vi } from 'vitest';
import {
    isFinal,
    parsePageData,
    SocketError,
    socketURL,
} from '/static/js/services/websocket/protocol.js';

describe('isFinal', () => {
    it.each([1002, 1003, 1007, 1008, 1009, 1010, 4400, 4401, 4403, 4404, 4499])(
        '%i is the end',
        (code) => expect(isFinal(code)).toBe(true),
    );

    it.each([1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, 3000, 4000, 4399])(
        '%i is worth another attempt',
        (code) => expect(isFinal(code)).toBe(false),
    );

    it.each([4408, 4429, 4500])('%i is worth another attempt', (code) =>
        expect(isFinal(code)).toBe(false),
    );
});

describe('socketURL', () => {
    afterEach(() => void vi.unstubAllGlobals());

    it.each([
        ['http://example.com/page/?a=1#b', 'ws://example.com/ws/orders/1/'],
        ['https://example.com/page/', 'wss://example.com/ws/orders/1/'],
        ['https://example.com:8443/', 'wss://example.com:8443/ws/orders/1/'],
    ])('on %s a path becomes %s', (page, url) => {
        vi.stubGlobal('location', new URL(page));
        expect(socketURL('/ws/orders/1/')).toBe(url);
    });

    it.each(['ws://other.example/ws/', 'wss://other.example/ws/?token=1'])(
        'leaves the address %s alone',
        (url) => {
            vi.stubGlobal('location', new URL('https://example.com/'));
            expect(socketURL(url)).toBe(url);
        },
    );

    it('leaves out what is not known', () => {
        vi.stubGlobal('location', new URL('http://example.com/'));
        expect(socketURL('/ws/', { page_user: undefined })).toBe('ws://example.com/ws/');
    });

    it('adds the position to what the endpoint asks', () => {
        vi.stubGlobal('location', new URL('http://example.com/'));
        const url = socketURL('/ws/?token=1', { epoch: 'k&3x', seq: 17 });
        expect(url).toBe('ws://example.com/ws/?token=1&epoch=k%263x&seq=17');
    });
});

describe('parsePageData', () => {
    it.each([undefined, '', '{}', '{"epoch":"k3x"}', '{"seq":17}'])(
        '%j has no position',
        (text) => {
            expect(parsePageData(text)).toEqual({});
        },
    );

    it.each(['{"epoch":"k3x","seq":0}', '{"epoch":"k3x","seq":0,"token":"t","later":{"v":1}}'])(
        '%s has one',
        (text) => {
            expect(parsePageData(text)).toEqual({ position: { epoch: 'k3x', seq: 0 } });
        },
    );

    it("has the token of the page's user as it is", () => {
        expect(parsePageData('{"page_user":"a-b_c"}')).toEqual({ page_user: 'a-b_c' });
    });

    it('has number and hash of the contract as they are', () => {
        expect(parsePageData('{"contract":"a:3:b"}')).toEqual({ contract: 'a:3:b' });
    });

    it.each(['k3x', 'null', '{&quot;epoch', '[object Object]'])(
        'refuses %s and names the fix',
        (text) => {
            const problem = `pageData must be the text of {{ page_data }}, not ${text}`;
            expect(() => parsePageData(text)).toThrow(new TypeError(problem));
        },
    );
});

describe('SocketError', () => {
    it('says its code when there is nothing better to say', () => {
        expect(new SocketError('too_large').message).toBe('WebSocket error: too_large');
        expect(new SocketError(4401, 'Sign in first.').message).toBe('Sign in first.');
    });
});
