// A running `serve` process: every route of the service on one port.

import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { PROJECT } from './cargo.mjs';
import { Complaint } from './complaint.mjs';
import { startProcess } from './processes.mjs';

const READY_MS_MAX = 60_000;
// It gives calls under way 10 s of its own.
const STOP_MS_MAX = 15_000;

/**
 * Starts the service, which applies the migration first, and resolves when `/v1/health` answers 200.
 * Its log goes to the terminal, or to `.stockhold/<logName>.log`.
 */
export async function startServe({ program, host = '127.0.0.1', port, databaseUrl, env = process.env, logName }) {
    const log = logName ? await openLog(logName) : null;
    const service = startProcess(program, ['--migrate'], {
        env: { ...env, HOST: host, PORT: String(port), DATABASE_URL: databaseUrl },
        graceMs: STOP_MS_MAX,
        stdio: log ? ['ignore', log.file.fd, log.file.fd] : ['ignore', 'inherit', 'inherit'],
    });
    await log?.file.close();

    const url = `http://${reachable(host)}:${port}`;
    let over = null;
    service.exited.then(
        (exit) => (over = exit),
        (error) => (over = { code: error.code }),
    );
    for (const start = Date.now(); !over && Date.now() - start < READY_MS_MAX; await sleep(50)) {
        if (await isHealthy(url)) return { ...service, url, logFile: log?.path };
    }
    const why = over
        ? `The service ended before it was ready (exit code ${over.code ?? over.signal})`
        : `The service did not become healthy within ${READY_MS_MAX / 1000} s`;
    throw new Complaint(`${why}; its own message is ${log ? `in ${log.path}` : 'above'}.`);
}

/** The environment without the keys that would make the service ask our own calls for one. */
export function withoutKeys({ API_KEYS, CRON_SECRET, ...env }) {
    return env;
}

async function openLog(name) {
    const folder = join(PROJECT, '.stockhold');
    await mkdir(folder, { recursive: true });
    const path = join(folder, `${name}.log`);
    return { path, file: await open(path, 'w') };
}

async function isHealthy(url) {
    try {
        const response = await fetch(`${url}/v1/health`, { signal: AbortSignal.timeout(5_000) });
        return response.status === 200;
    } catch {
        return false;
    }
}

// A service that listens on every address is reached on this one.
function reachable(host) {
    if (host === '0.0.0.0' || host === '::') return 'localhost';
    return host.includes(':') ? `[${host}]` : host;
}
