// `npm run test:mutants`: plants faults in our own service, one at a time, and sees each of them found by the harness.
// Arguments go to the program as they are (`-- --mutant NAME`, `-- --matrix`, `-- --clean-runs 100`, `-- --list`).

import { build, checkToolchain } from './helpers/cargo.mjs';
import { testServerUrl } from './helpers/postgres.mjs';
import { startProcess } from './helpers/processes.mjs';

export async function main(args) {
    checkToolchain();
    const adminUrl = await testServerUrl();
    const programs = await build(['serve', 'stockhold-mutants']);
    return (await tryMutants(programs, adminUrl, args)).code;
}

/** Tries mutants of the service on databases of their own. Resolves to the exit code. */
export async function tryMutants(programs, adminUrl, args) {
    const command = ['--serve', programs.serve, ...args];
    // Not an argument: the list of processes shows those to everybody.
    const env = { DATABASE_URL: adminUrl };
    const { code } = await startProcess(programs['stockhold-mutants'], command, { env: { ...process.env, ...env } }).exited;
    return { code: code ?? 1 };
}
