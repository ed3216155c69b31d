// `npm run bench`, at its smallest: it measures a real service and writes its report, and a service that fails fails it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { benchOnDatabase } from './bench.mjs';
import { startThrowAwayPostgres } from './helpers/postgres.mjs';
import { stopEverything } from './helpers/processes.mjs';

const { STOCKHOLD_SERVE, STOCKHOLD_BENCH } = process.env;
const programs = { serve: STOCKHOLD_SERVE, 'stockhold-bench': STOCKHOLD_BENCH };
const BRIEF = ['--seconds', '0.3', '--warm-up', '0.1', '--connections', '2'];

let folder;
let server;

describe('the benchmark', { skip: !(STOCKHOLD_SERVE && STOCKHOLD_BENCH) && 'run by `npm test`' }, () => {
    before(async () => {
        folder = await mkdtemp(join(tmpdir(), 'stockhold-bench-'));
        server = await startThrowAwayPostgres();
    });

    after(async () => {
        await stopEverything();
        await rm(folder, { recursive: true, force: true });
    });

    it('measures the service and its baselines, and writes a page and JSON', async () => {
        const out = join(folder, 'report');
        const parts = ['baselines', 'one_process', 'open_loop', 'far_away', 'lone_call'];
        const args = [...BRIEF, ...parts.flatMap((part) => ['--part', part]), '--scenario', 'hot', '--out', out];
        assert.equal(await benchOnDatabase(programs, server.url, args), 0);

        const figures = JSON.parse(await readFile(join(out, 'bench.json'), 'utf8'));
        assert.deepEqual(figures.failures, []);
        const measured = figures.points.map(({ series, setup }) => `${series} ${setup}`);
        for (const point of ['hot one_process', 'hot far_away', 'bare_update database', 'transaction database_far_away']) {
            assert.ok(measured.includes(point), `${point} in ${measured}`);
        }
        assert.ok(figures.points.every(({ calls, errors }) => calls > 0 && errors === 0));
        assert.ok(figures.lone_call.calls > 0);
        // Each round trip to the database far away takes 5 ms more.
        const far = figures.points.find(({ setup }) => setup === 'far_away');
        assert.ok(far.latency.p50_us > 5_000, `${far.latency.p50_us} µs`);

        const page = readFileSync(join(out, 'index.html'), 'utf8');
        assert.match(page, /<svg/);
        assert.doesNotMatch(page, /(src|href)="(?!data:)/, 'the page asks the network for something');
    });

    it('measures growth and a sweep on a small scale', async () => {
        const out = join(folder, 'growth');
        const args = [...BRIEF, '--part', 'growth', '--scenario', 'uniform', '--growth', '0,3000', '--lapsed', '2000'];
        assert.equal(await benchOnDatabase(programs, server.url, [...args, '--out', out]), 0);
        const { points, sweep } = JSON.parse(await readFile(join(out, 'bench.json'), 'utf8'));
        assert.deepEqual(
            points.map(({ old_reservations }) => old_reservations),
            [0, 3000],
        );
        assert.equal(sweep.expired_count, 2000);
    });

    it('fails when the service does', { skip: process.platform === 'win32' && 'needs an executable script' }, async () => {
        const serve = join(folder, 'serve.mjs');
        await writeFile(serve, FAILING);
        await chmod(serve, 0o755);
        const out = join(folder, 'failed');
        const args = [...BRIEF, '--part', 'one_process', '--scenario', 'hot', '--out', out];
        assert.equal(await benchOnDatabase({ ...programs, serve }, server.url, args), 1);
        const { failures } = JSON.parse(await readFile(join(out, 'bench.json'), 'utf8'));
        assert.match(failures[0], /hot, one process, 2 connections: \d+ calls failed: POST \S+ answered 500: out of order/);
    });

    it('writes nothing over an earlier report', async () => {
        const out = join(folder, 'taken');
        await writeFile(out, 'a report');
        assert.equal(await benchOnDatabase(programs, server.url, [...BRIEF, '--out', out]), 3);
        assert.ok(!(await readdir(folder)).some((name) => name.startsWith('.stockhold-report')));
    });
});

// The real service, in front of which every reservation fails.
const FAILING = `#!/usr/bin/env node
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { freePort } from '${new URL('helpers/ports.mjs', import.meta.url)}';
const port = Number(process.env.PORT);
const env = { ...process.env, PORT: String(await freePort()) };
const service = spawn(process.env.STOCKHOLD_SERVE, ['--migrate'], { env, stdio: 'ignore' });
process.on('SIGTERM', () => (service.kill(), process.exit(0)));
createServer(async (request, response) => {
    if (request.method === 'POST') return response.writeHead(500).end('out of order');
    const answer = await fetch('http://127.0.0.1:' + env.PORT + request.url).catch(() => null);
    response.writeHead(answer?.status ?? 503).end(await answer?.text());
}).listen(port, '127.0.0.1');
`;
