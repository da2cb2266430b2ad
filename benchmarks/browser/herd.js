/** 5,000 pages, an outage: how many give up, and how many connect at once when the server is back. */
import { SERVICES } from './services.js';

const CLIENTS = 5_000;
const WINDOW = 100; // ms
const OUTAGES = [10_000, 15_000, 20_000]; // ms
const REFUSED = 1006; // a server that is down
const LIMITS = { maxAttempts: 5, minDelay: 1_000, maxDelay: 30_000, stableAfter: 5_000 };

const { Backoff } = await import(new URL('backoff.js', SERVICES));

/** When a page connects, in ms after the outage began; undefined if it gave up. */
function comesBack(outage, code) {
    const backoff = new Backoff(LIMITS);
    let now = 0;
    for (;;) {
        const delay = backoff.next(code);
        if (delay === undefined) return;
        now += delay;
        if (now >= outage) return now;
        code = REFUSED;
    }
}

function peak(times) {
    const counts = new Map();
    for (const time of times) {
        const slot = Math.floor(time / WINDOW);
        counts.set(slot, (counts.get(slot) ?? 0) + 1);
    }
    return Math.max(...counts.values());
}

const rows = {};
for (const [how, code] of [['killed', 1006], ['restarted', 1012]]) {
    for (const outage of [0, ...OUTAGES]) {
        const times = Array.from({ length: CLIENTS }, () => comesBack(outage, code));
        const back = times.filter((time) => time !== undefined);
        rows[`${how}, away ${outage / 1_000} s`] = {
            'gave up, %': ((1 - back.length / CLIENTS) * 100).toFixed(2),
            'peak in 100 ms': peak(back),
            'last back, s after the end': ((back.reduce((a, b) => Math.max(a, b)) - outage) / 1_000).toFixed(1),
        };
    }
}
console.table(rows);
