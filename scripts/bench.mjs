// `npm run bench`: the service measured, and the same database without it, on a new PostgreSQL that flushes every commit
// (or on the server of DATABASE_URL or `--database-url`, whose role may create a database). Other arguments go to the
// program as they are: `-- --full`, `-- --part one_process --scenario hot`, `-- --help`.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { build, checkToolchain, PROJECT } from './helpers/cargo.mjs';
import { checkDatabaseUrl, createDatabase, query } from './helpers/database.mjs';
import { installPackages } from './helpers/npm.mjs';
import { startThrowAwayPostgres } from './helpers/postgres.mjs';
import { onStop, startProcess } from './helpers/processes.mjs';
import { withoutKeys } from './helpers/serve.mjs';

// Room for 200 clients of a baseline beside the services, and no checkpoint in the middle of a measurement.
const SETTINGS = { max_connections: 400, min_wal_size: '4GB', max_wal_size: '8GB', checkpoint_timeout: '1h' };
const LOG_MEGABYTES = 2048;
const EXPRESS = join(PROJECT, 'scripts', 'bench', 'express');

export async function main(args) {
    checkToolchain();
    if (args.some((arg) => /^(--help|-h)$/.test(arg))) {
        const programs = await build(['stockhold-bench']);
        return bench(programs, args, {});
    }
    const { adminUrl, rest } = await databaseServer(args);
    const programs = await build(['serve', 'others', 'get_item', 'hot_item', 'stockhold-bench']);
    const express = await expressService();
    return benchOnDatabase(programs, adminUrl, rest, express ? ['--express', express] : []);
}

/** Measures on a new database of the server of `adminUrl`, dropped at the end. Resolves to its exit code. */
export async function benchOnDatabase(programs, adminUrl, args, more = []) {
    const database = await createDatabase(adminUrl);
    onStop(database.drop);
    const folder = join(PROJECT, '.stockhold');
    await mkdir(folder, { recursive: true });
    const date = new Date().toISOString().slice(0, 19).replace(/[:T]/g, '-');
    const out = args.some((arg) => /^--out(=|$)/.test(arg)) ? [] : ['--out', join(folder, `bench-${date}`)];
    const rustc = spawnSync('rustc', ['--version'], { encoding: 'utf8' }).stdout?.split(' ')[1] ?? 'unknown';
    const given = [
        ...['--serve', programs.serve, '--log-dir', folder],
        ...(programs.others ? ['--functions', dirname(programs.others)] : []),
        ...(programs.hot_item ? ['--library', programs.hot_item] : []),
        ...['--about', `node=${process.versions.node}`, '--about', `rustc=${rustc}`],
    ];
    return bench(programs, [...given, ...more, ...out, ...args], { DATABASE_URL: database.url });
}

async function bench(programs, args, env) {
    const { code } = await startProcess(programs['stockhold-bench'], args, {
        env: { ...withoutKeys(process.env), ...env },
    }).exited;
    return code ?? 1;
}

// The URL is kept off the program's command line, which every account of the machine may read.
async function databaseServer(args) {
    const at = args.findIndex((arg) => /^--database-url(=|$)/.test(arg));
    const [flag, text] = at < 0 ? ['', ''] : args[at].split(/=(.*)/s);
    const rest = at < 0 ? args : args.toSpliced(at, text === undefined ? 2 : 1);
    const given = (flag && (text ?? args[at + 1])) || process.env.DATABASE_URL;
    if (!given) return { adminUrl: await startMeasuredPostgres(), rest };
    await checkDatabaseUrl(given);
    return { adminUrl: given, rest };
}

/** Starts a new server and resolves to its URL. */
export async function startMeasuredPostgres() {
    const { url } = await startThrowAwayPostgres({ durable: true, settings: SETTINGS });
    // A server that has run for a while writes its log over files that a checkpoint has kept; a new server must make each
    // file first, and every commit waits for that.
    await query(url, `select count(pg_logical_emit_message(false, 'bench', repeat('x', 1048576)))
        from generate_series(1, ${LOG_MEGABYTES})`);
    await query(url, 'checkpoint');
    return url;
}

// Express is installed for the benchmark alone: whoever only starts the service needs none of its 70 packages.
async function expressService() {
    if (!existsSync(join(EXPRESS, 'node_modules', '.package-lock.json'))) {
        console.log('Installing Express, for the benchmark to compare with …');
        if (!(await installPackages(EXPRESS))) {
            console.log('Express could not be installed (npm says why above): that comparison is left out.');
            return null;
        }
    }
    return join(EXPRESS, 'server.mjs');
}
