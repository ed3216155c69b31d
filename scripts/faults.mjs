// `npm run test:faults`: two service processes over a fresh database are killed, paused, cut off and frozen while calls are
// under way. Arguments go to `stockhold-harness race` as they are.

import { build, checkToolchain } from './helpers/cargo.mjs';
import { createDatabase } from './helpers/database.mjs';
import { testServerUrl } from './helpers/postgres.mjs';
import { onStop, startProcess } from './helpers/processes.mjs';

export async function main(args) {
    checkToolchain();
    const adminUrl = await testServerUrl();
    const programs = await build(['serve', 'stockhold-harness']);
    return (await testFaults(programs, adminUrl, args)).code;
}

/** Resolves to the harness's exit code. */
export async function testFaults(programs, adminUrl, args) {
    const database = await createDatabase(adminUrl);
    onStop(database.drop);
    const start = `exec env -u API_KEYS -u CRON_SECRET HOST=127.0.0.1 RUST_LOG=warn '${programs.serve}' --migrate`;
    const faults = args.some((arg) => /^--nemesis(=|$)/.test(arg)) ? [] : ['--nemesis', 'kill,pause,cut,delay'];
    const all = ['race', ...faults, '--start', start, '--database-url', database.url, ...args];
    const { code } = await startProcess(programs['stockhold-harness'], all).exited;
    return { code: code ?? 1 };
}
