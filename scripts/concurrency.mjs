// `npm run test:concurrency`: the races, over two service processes that share a fresh database.
// `-- --url https://…` races a deployment instead, and starts nothing here. Other arguments go to the harness as they are.
// `npm run test:schedules`: the same for schedules behind gates.

import { build, checkToolchain } from './helpers/cargo.mjs';
import { createDatabase } from './helpers/database.mjs';
import { freePort } from './helpers/ports.mjs';
import { testServerUrl } from './helpers/postgres.mjs';
import { isStopping, onStop, startProcess } from './helpers/processes.mjs';
import { startServe, withoutKeys } from './helpers/serve.mjs';

export async function main(args) {
    return run('race', args);
}

// Our own server writes its log so that every committed state can be replayed from it; another may not.
const evidence = () => (process.env.DATABASE_URL ? [] : ['--witness']);

/** Runs a command of the harness against the deployment that the arguments name, or against one of our own. */
export async function run(command, args, options) {
    checkToolchain();
    const startsNothing = args.some((arg) => /^(--url(=|$)|--help$|-h$)/.test(arg));
    if (startsNothing) {
        const programs = await build(['stockhold-harness']);
        return (await runHarness(programs, [command, ...args])).code;
    }
    const adminUrl = await testServerUrl();
    const programs = await build(['serve', 'stockhold-harness']);
    return (await testTwoServices(programs, adminUrl, [command, ...args], options)).code;
}

/**
 * Runs a command of the harness against two new service processes over a new database on the server of `adminUrl`.
 * Resolves to the harness's exit code.
 */
export async function testTwoServices(programs, adminUrl, [command, ...args], { env = {} } = {}) {
    const database = await createDatabase(adminUrl);
    onStop(database.drop);
    const services = [];
    for (const number of [1, 2]) {
        services.push(
            await startServe({
                program: programs.serve,
                port: await freePort(),
                databaseUrl: database.url,
                env: { ...withoutKeys(process.env), ...env },
                logName: `serve-${number}`,
            }),
        );
    }
    const urls = services.flatMap(({ url }) => ['--url', url]);
    const ours = [...urls, '--database-url', database.url, ...(command === 'race' ? evidence() : [])];
    const result = await runHarness(programs, [command, ...ours, ...args]);
    for (const { stop } of services) await stop();
    if (result.code !== 0 && !isStopping()) {
        console.error(`The logs of the two services: ${services.map(({ logFile }) => logFile).join(' ')}`);
    }
    return result;
}

async function runHarness(programs, args) {
    const { code } = await startProcess(programs['stockhold-harness'], args).exited;
    return { code: code ?? 1 };
}
