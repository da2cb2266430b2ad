/** Bytes of all that a page loads for its WebSocket, beside what peers load. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { SERVICES } from './services.js';

const ENTRIES = {
    'this service': fileURLToPath(new URL('websocket.js', SERVICES)),
    'this form module': fileURLToPath(new URL('../components/live_form.js', SERVICES)),
    'reconnecting-websocket': 'reconnecting-websocket',
    partysocket: 'partysocket/ws',
    phoenix: 'phoenix',
};
// Bytes, minified and gzipped.
const LIMITS = { 'this service': 3_300, 'this form module': 1_000 };

const gzip = (bytes) => gzipSync(bytes, { level: 9 }).length;
const brotli = (bytes) => brotliCompressSync(bytes).length;

async function bundle(entry) {
    const options = { bundle: true, format: 'esm', write: false, metafile: true };
    const { outputFiles, metafile } = await build({ ...options, entryPoints: [entry], minify: true });
    return { bytes: outputFiles[0].contents, files: Object.keys(metafile.inputs) };
}

const rows = {};
for (const [name, entry] of Object.entries(ENTRIES)) {
    const { bytes, files } = await bundle(entry);
    const served = files.map((file) => readFileSync(file));
    const sum = (size) => served.map(size).reduce((a, b) => a + b);
    rows[name] = {
        'minified': bytes.length,
        'minified, gzip': gzip(bytes),
        'minified, brotli': brotli(bytes),
        'files': files.length,
        'as served': sum((file) => file.length),
        'as served, gzip': sum(gzip), // each file by itself
        'as served, brotli': sum(brotli),
        'as served, gzip of all at once': gzip(Buffer.concat(served)),
    };
}
console.table(rows);
for (const [name, limit] of Object.entries(LIMITS)) {
    const size = rows[name]['minified, gzip'];
    if (size <= limit) continue;
    console.error(`${name}: ${size} bytes, of ${limit}`);
    process.exitCode = 1;
}
