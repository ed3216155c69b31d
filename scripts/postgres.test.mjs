// The embedded PostgreSQL: what it keeps, what it survives, and that it leaves no process behind.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, it } from 'node:test';

import { canConnect, query } from './helpers/database.mjs';
import { eventually, processes } from './helpers/observe.mjs';

const MODULE = new URL('helpers/postgres.mjs', import.meta.url).href;
const PROCESSES = new URL('helpers/processes.mjs', import.meta.url).href;

let project;
const started = [];

beforeEach(async () => {
    project = await realpath(await mkdtemp(join(tmpdir(), 'stockhold-test-')));
    await chmod(project, 0o755);
});

afterEach(async () => {
    for (const { child } of started.splice(0)) if (child.exitCode === null) child.kill('SIGTERM');
    await eventually(() => postgresIn(project).length === 0, 'everything stopped');
    await rm(project, { recursive: true, force: true });
});

describe('the kept database', () => {
    it('keeps its rows between runs, and is emptied by --fresh', async () => {
        const first = await run();
        await query(first.url, 'create table kept (n int)');
        await first.end('SIGTERM');

        const second = await run();
        assert.deepEqual(await query(second.url, 'select * from kept'), []);
        await second.end('SIGTERM');

        const third = await run({ fresh: true });
        await assert.rejects(query(third.url, 'select * from kept'), { code: '42P01' });
    });

    it('refuses a second start while the first runs', async () => {
        const first = await run();
        const second = await run();
        assert.match(second.complaint, /^Complaint: The data folder is in use/);
        assert.ok(await canConnect(first.url));
    });

    it('asks for a password, and keeps it to the account that started it', async () => {
        const { url, urlFile } = await run();
        const other = new URL(url);
        other.password = 'guess';
        await assert.rejects(query(other.href, 'select 1'), { code: '28P01' });
        assert.equal(statSync(urlFile).mode & 0o777, 0o600);
        assert.equal(readFileSync(urlFile, 'utf8'), url);
    });

    it('does not depend on the caller’s locale, time zone or PG variables', async () => {
        const { url } = await run({}, { LC_ALL: 'xx_XX', TZ: 'Asia/Kathmandu', PGDATA: '/nowhere', PGPORT: '1' });
        const [{ timezone, encoding, collation }] = await query(
            url,
            `select current_setting('timezone') as timezone, pg_encoding_to_char(encoding) as encoding, datcollate as collation
             from pg_database where datname = current_database()`,
        );
        assert.deepEqual({ timezone, encoding, collation }, { timezone: 'UTC', encoding: 'UTF8', collation: 'C' });
    });
});

describe('an end without a word', () => {
    for (const signal of ['SIGINT', 'SIGHUP', 'SIGKILL']) {
        it(`leaves no process behind after ${signal}`, async () => {
            const server = await run();
            await query(server.url, 'create table kept (n int)');
            await server.end(signal);
            await eventually(() => postgresIn(project).length === 0, 'PostgreSQL and the watchdog are gone');

            const again = await run();
            assert.deepEqual(await query(again.url, 'select * from kept'), []);
        });
    }

    it('is repaired by the next start when even the watchdog was killed', async () => {
        const server = await run();
        const watchdog = processes().find(({ ppid, args }) => ppid === server.child.pid && args.includes('watchdog'));
        process.kill(watchdog.pid, 'SIGKILL');
        await server.end('SIGKILL');
        assert.ok(await canConnect(server.url), 'the server outlives them');

        const again = await run();
        assert.ok(await canConnect(again.url));
        assert.ok(!(await canConnect(server.url)), 'the old server is stopped');
    });

    it('does no harm when PostgreSQL itself was killed and its process id belongs to a stranger now', async () => {
        const server = await run();
        const pidFile = join(server.home, 'data', 'postmaster.pid');
        const lines = readFileSync(pidFile, 'utf8').split('\n');
        process.kill(Number(lines[0]), 'SIGKILL');
        await once(server.child, 'exit');
        await eventually(() => postgresIn(project).length === 0, 'the backends are gone');
        writeFileSync(pidFile, [process.pid, ...lines.slice(1)].join('\n'));

        const again = await run();
        assert.ok(await canConnect(again.url));
    });

    it('in the middle of making the data folder leaves nothing half made', async () => {
        await mkdir(join(project, '.stockhold', 'data.new', 'base'), { recursive: true });
        const { url } = await run();
        assert.ok(await canConnect(url));
    });
});

describe('a throw-away database', () => {
    it('leaves neither a process nor a folder, even after a kill -9', async () => {
        const server = await run({ throwAway: true });
        assert.ok(existsSync(server.home));
        await server.end('SIGKILL');
        await eventually(() => postgresIn(server.home).length === 0 && !existsSync(server.home), 'all is gone');
    });
});

describe('root in a folder that is closed to others', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
    let home;
    after(() => home && rm(home, { recursive: true, force: true }));

    it('keeps binaries and data where the account of the server reaches them', async () => {
        await chmod(project, 0o700);
        const server = await run();
        home = server.home;
        assert.ok(!home.startsWith(project));
        assert.ok(await canConnect(server.url));
        await server.end('SIGTERM');
        assert.equal((await run()).home, home);
    });
});

// Starts a server in a process of its own, as `npm start` does, and resolves when it is ready or complains.
async function run({ fresh = false, throwAway = false } = {}, env = {}) {
    const options = JSON.stringify({ project, fresh, durable: false });
    const script = `
        import { startKeptPostgres, startThrowAwayPostgres } from ${JSON.stringify(MODULE)};
        import { handleInterrupts, stopEverything } from ${JSON.stringify(PROCESSES)};
        handleInterrupts(async () => { await stopEverything(); process.exit(0); });
        try {
            const server = await (${throwAway} ? startThrowAwayPostgres() : startKeptPostgres(${options}));
            console.log(JSON.stringify({ url: server.url, home: server.home, urlFile: server.urlFile }));
            await server.exited;
        } catch (error) {
            console.log(JSON.stringify({ complaint: error.constructor.name + ': ' + error.message }));
        }
        await stopEverything();
        process.exit(0);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'inherit'],
    });
    started.push({ child });
    let output = '';
    for await (const chunk of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
        output += chunk;
        const answer = output.split('\n').find((line) => line.startsWith('{'));
        if (answer) {
            const end = async (signal) => {
                child.kill(signal);
                await once(child, 'exit');
            };
            return { ...JSON.parse(answer), child, end };
        }
    }
    throw new Error(`no answer: ${output}`);
}

function postgresIn(folder) {
    return processes().filter(({ args }) => args.includes(folder) && args.includes('postgres'));
}
