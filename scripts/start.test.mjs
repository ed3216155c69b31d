// `npm start`: one clear line for what cannot work, before anything is built, and nothing left after its end.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { createDatabase } from './helpers/database.mjs';
import { eventually, processes } from './helpers/observe.mjs';
import { freePort } from './helpers/ports.mjs';
import { startThrowAwayPostgres } from './helpers/postgres.mjs';
import { stopEverything } from './helpers/processes.mjs';

const RUN = fileURLToPath(new URL('run.mjs', import.meta.url));

let folder;
let server;

before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stockhold-test-'));
    server = await startThrowAwayPostgres();
});

after(async () => {
    await stopEverything();
    await rm(folder, { recursive: true, force: true });
});

describe('one clear line', () => {
    it('for a port that is taken', async () => {
        const holder = createServer().listen(0, '127.0.0.1');
        await once(holder, 'listening');
        const { port } = holder.address();
        assert.match(
            await complaint({ PORT: String(port) }),
            new RegExp(`^Port ${port} is taken\\. .*PORT=${port + 1} npm start$`),
        );
        holder.close();
    });

    for (const PORT of ['http', '0', '65536', '-1', '3000.5']) {
        it(`for PORT=${PORT}`, async () => {
            assert.match(await complaint({ PORT }), /^PORT is ".*": a number from 1 to 65535 is needed\.$/);
        });
    }

    it('for a HOST that is not of this machine', async () => {
        assert.match(
            await complaint({ HOST: '192.0.2.1' }),
            /^HOST is "192\.0\.2\.1": the service cannot listen there/,
        );
    });

    for (const [what, url] of [
        ['a word', 'secret'],
        ['another scheme', 'mysql://me:secret@127.0.0.1/db'],
        ['a stray % in the password', 'postgres://me:secret%@127.0.0.1/db'],
        ['a stray # in the password', 'postgres://me:secret#1@127.0.0.1/db'],
    ]) {
        it(`for a DATABASE_URL that is no URL: ${what}`, async () => {
            assert.match(await complaint({ DATABASE_URL: url }), /^DATABASE_URL is not of the form postgres:/);
        });
    }

    it('for a database that nothing serves', async () => {
        const port = await freePort();
        const DATABASE_URL = `postgres://me:secret@127.0.0.1:${port}/db`;
        assert.equal(await complaint({ DATABASE_URL }), `DATABASE_URL: nothing listens at 127.0.0.1:${port}.`);
    });

    it('for a host that does not exist', async () => {
        const DATABASE_URL = 'postgres://me:secret@nowhere.invalid/db';
        assert.equal(await complaint({ DATABASE_URL }), 'DATABASE_URL: the host nowhere.invalid is not known.');
    });

    it('for a wrong password', async () => {
        const url = new URL(server.url);
        url.password = 'secret';
        assert.match(
            await complaint({ DATABASE_URL: url.href }),
            /^DATABASE_URL: \S+ refuses the user or the password\.$/,
        );
    });

    it('for a database that does not exist', async () => {
        const url = new URL(server.url);
        url.pathname = '/nowhere';
        assert.match(
            await complaint({ DATABASE_URL: url.href }),
            /^DATABASE_URL: there is no database of that name at/,
        );
    });

    it('for a machine without Rust', async () => {
        const nowhere = join(folder, 'nowhere');
        assert.match(
            await complaint({ PATH: nowhere, CARGO_HOME: nowhere }),
            /^Rust is not installed .*https:\/\/rustup\.rs/,
        );
    });

    it('for a Rust that is too old', async () => {
        const PATH = await fakeCargo('echo "cargo 1.75.0 (1d8b05cdd 2023-11-20)"');
        assert.match(await complaint({ PATH }), /^Rust 1\.75 is too old, \d+\.\d+ or newer is needed/);
    });

    it('for a rustup without a toolchain', async () => {
        const PATH = await fakeCargo('echo "error: rustup could not choose a version of cargo to run" >&2; exit 1');
        assert.match(await complaint({ PATH }), /^`cargo --version` fails: error: rustup could not choose a version/);
    });

    it('for an argument it does not know', async () => {
        assert.match(await complaint({}, ['--frehs']), /^`npm start` does not know "--frehs"/);
    });

    it('for --fresh with a DATABASE_URL', async () => {
        assert.match(
            await complaint({ DATABASE_URL: server.url }, ['--fresh']),
            /^--fresh empties the embedded database only/,
        );
    });
});

describe('a whole start', { skip: process.platform === 'win32' && 'needs a shell' }, () => {
    it('builds, waits for health, prints the URLs, and leaves no process after a double Ctrl-C', async () => {
        const { start, url } = await wholeStart();
        for (const path of ['v1', 'docs', 'openapi.json']) assert.ok(start.output().includes(`${url}/${path}\n`));
        assert.equal((await fetch(`${url}/v1/health`)).status, 200);
        assert.ok(!start.output().includes(new URL(server.url).password), 'no password is printed');

        const started = childrenOf(start.child.pid);
        assert.equal(started.length, 2, 'the service and the watchdog');
        const ended = once(start.child, 'exit');
        start.child.kill('SIGINT');
        start.child.kill('SIGINT');
        assert.deepEqual(await ended, [0, null]);
        assert.deepEqual(alive(started), []);
    });

    it(
        'ends when npm is killed, though the shell between them lives',
        { skip: process.platform !== 'linux' },
        async () => {
            // npm, its shell, and the command: neither shell replaces itself while it has something left to do.
            const shell = 'sh -c \'"$NODE" "$RUN" start; true\'; true';
            const { start } = await wholeStart(['sh', '-c', shell], {
                npm_lifecycle_event: 'start',
                NODE: process.execPath,
                RUN,
            });
            const [between] = childrenOf(start.child.pid);
            const [command] = childrenOf(between);
            const started = [command, ...childrenOf(command)];
            assert.equal(started.length, 3, 'the command, the service and the watchdog');
            start.child.kill('SIGKILL');
            await eventually(() => alive(started).length === 0, 'all three are gone');
        },
    );
});

// `npm start` on a database of its own, with a build that takes no time; it is ready.
async function wholeStart(command, env) {
    const database = await createDatabase(server.url);
    const executable = process.env.STOCKHOLD_SERVE || (await standIn());
    const artifact = { target: { name: 'serve', kind: ['bin'] }, profile: { test: false }, executable };
    const PATH = await fakeCargo(
        `if [ "$1" = --version ]; then echo "cargo 99.0.0"; else echo '${JSON.stringify(artifact)}'; fi`,
    );
    const port = await freePort();
    const start = spawnStart({ PATH, PORT: String(port), DATABASE_URL: database.url, ...env }, [], command);
    await eventually(() => start.output().includes('Ctrl-C stops it'), `ready: ${start.output()}`);
    return { start, url: `http://127.0.0.1:${port}` };
}

function childrenOf(parent) {
    return processes()
        .filter(({ ppid }) => ppid === parent)
        .map(({ pid }) => pid);
}

// An uncollected process has no command line left.
function alive(pids) {
    return processes().filter(({ pid, args }) => pids.includes(pid) && args !== '');
}

// Runs `npm start` to its early end and resolves to the one line it printed on stderr.
async function complaint(env, args = []) {
    const start = spawnStart(env, args);
    const [code] = await once(start.child, 'close');
    assert.equal(code, 1, start.output());
    assert.ok(!start.output().includes('secret'), `a secret is printed: ${start.output()}`);
    const lines = start.errors().trim().split('\n');
    assert.equal(lines.length, 1, start.errors());
    assert.ok(!start.output().includes('Building'), 'it is refused before the build');
    return lines[0].replace(/^stockhold: /, '');
}

function spawnStart(env, args = [], command = [process.execPath, RUN, 'start']) {
    const defaults = { PORT: String(20_000 + (process.pid % 10_000)), HOST: '', DATABASE_URL: server.url };
    const child = spawn(command[0], [...command.slice(1), ...args], {
        env: { ...process.env, ...defaults, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [output, errors] = ['', ''];
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (errors += chunk));
    return { child, output: () => output + errors, errors: () => errors };
}

// A folder whose `cargo` is found first.
async function fakeCargo(script) {
    const bin = await mkdtemp(join(folder, 'bin-'));
    await executable(join(bin, 'cargo'), `#!/bin/sh\n${script}\n`);
    return bin + delimiter + process.env.PATH;
}

// Stands for `serve` where that is not built: it answers health.
async function standIn() {
    const file = join(folder, 'serve');
    const answer = `require('http').createServer((_, response) => response.end('{}')).listen(process.env.PORT, process.env.HOST);`;
    await executable(file, `#!${process.execPath}\n${answer}\n`);
    return file;
}

async function executable(file, text) {
    await writeFile(file, text);
    await chmod(file, 0o755);
}
