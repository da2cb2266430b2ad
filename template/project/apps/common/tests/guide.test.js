// @ts-nocheck The guide's code stands here word for word, and has no types.
import { describe, expect, it, vi } from 'vitest';
import { BaseWebSocketService } from '/static/js/services/websocket.js';
import { nextEvent, startServer } from '../testing/websocket_server.js';

class FeatureWebSocketService extends BaseWebSocketService {
    constructor(featureId) {
        super({
            endpoint: `/ws/your-feature/${featureId}/`,
        });
        this.featureId = featureId;
    }

    // Add feature-specific methods
    async performAction(data) {
        this.send({
            type: 'your_action',
            data: data,
        });
    }

    handleMessage(data) {
        switch (data.type) {
            case 'action_result':
                this.emit('actionComplete', data);
                break;
            case 'status_update':
                this.emit('statusUpdate', data);
                break;
            default:
                console.log('Unknown message type:', data.type);
        }
    }
}

class FeatureApp {
    constructor(featureId) {
        this.websocket = new FeatureWebSocketService(featureId);
        this.setupEventListeners();
    }

    setupEventListeners() {
        // Handle connection status
        this.websocket.on('connectionStatus', (status) => {
            this.updateConnectionUI(status);
        });

        // Handle action results
        this.websocket.on('actionComplete', (data) => {
            this.handleActionResult(data);
        });

        // Handle status updates
        this.websocket.on('statusUpdate', (data) => {
            this.updateStatus(data);
        });
    }

    initialize() {
        this.websocket.connect();
    }
}

describe('WebSocket Connection', () => {
    it('should connect successfully', async () => {
        await startServer();
        const socket = new FeatureWebSocketService('test-id');
        await socket.connect();
        expect(socket.isConnected).toBe(true);
        socket.close();
    });
});

describe('Message Handling', () => {
    it('should handle action results', () => {
        const socket = new FeatureWebSocketService('test-id');
        socket.on('actionComplete', (data) => {
            expect(data.type).toBe('action_result');
        });
    });
});

describe('the guide’s application', () => {
    it('sees each status, its results and its updates, and nothing unknown', async () => {
        const log = vi.spyOn(console, 'log').mockImplementation(() => {});
        const server = await startServer();
        const app = new FeatureApp('7');
        app.updateConnectionUI = vi.fn();
        app.handleActionResult = vi.fn();
        app.updateStatus = vi.fn();
        app.initialize();
        const connection = await server.nextConnection();
        expect(connection.url.pathname).toBe('/ws/your-feature/7/');
        await app.websocket.performAction({ item: 1 });
        expect(await connection.nextMessage()).toEqual({ type: 'your_action', data: { item: 1 } });
        connection.send({ type: 'action_result', data: { ok: true } });
        connection.send({ type: 'status_update', data: 2 });
        await nextEvent(app.websocket, 'statusUpdate');
        app.websocket.close();
        expect(app.handleActionResult).toHaveBeenCalledWith({
            type: 'action_result',
            data: { ok: true },
        });
        expect(app.updateStatus).toHaveBeenCalledWith({ type: 'status_update', data: 2 });
        expect(app.updateConnectionUI.mock.calls.flat()).toEqual([
            'connecting',
            'connected',
            'disconnected',
        ]);
        expect(log).not.toHaveBeenCalled();
    });
});
