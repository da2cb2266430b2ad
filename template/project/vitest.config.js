import { existsSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { defineConfig } from 'vitest/config';

/** @type {import('vitest/config').Plugin} Finds `/static/…` as Django does: in each app's folder. */
const staticFolders = {
    name: 'static-folders',
    enforce: 'pre',
    resolveId(source) {
        if (!source.startsWith('/static/')) return;
        const apps = readdirSync('apps').map((app) => resolve('apps', app, source.slice(1)));
        return apps.find((path) => existsSync(path));
    },
};

export default defineConfig({
    plugins: [staticFolders],
    test: { include: ['apps/**/tests/*.test.js'] },
});
