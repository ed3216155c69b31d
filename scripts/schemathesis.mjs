// `npm run test:schemathesis`: Schemathesis (PyPI) makes calls from the OpenAPI document, valid and not, alone and in
// sequences, and compares every answer with what the document says of it: a service that is open, and one with keys.
// Arguments go to `st run` as they are.

import { join } from 'node:path';

import { build, checkToolchain, PROJECT } from './helpers/cargo.mjs';
import { Complaint } from './helpers/complaint.mjs';
import { createDatabase } from './helpers/database.mjs';
import { freePort } from './helpers/ports.mjs';
import { testServerUrl } from './helpers/postgres.mjs';
import { onStop, runAndRead } from './helpers/processes.mjs';
import { findPython, installPackages } from './helpers/python.mjs';
import { startServe, withoutKeys } from './helpers/serve.mjs';

// What Schemathesis keeps of its runs goes there too.
const FOLDER = join(PROJECT, '.stockhold', 'schemathesis');
const HERE = join(PROJECT, 'scripts', 'schemathesis');
const CASES_MIN = 2_000;
const KEYS = { API_KEYS: 'first-key,second-key', CRON_SECRET: 'cron-secret' };

export async function main(args) {
    checkToolchain();
    const adminUrl = await testServerUrl();
    const programs = await build(['serve']);
    const { code, skipped } = await testDocument(programs, adminUrl, args);
    if (skipped) throw new Complaint('Nothing was tested.');
    return code;
}

/** Resolves to the exit code and to how many of the two services passed; skipped where Python is not there. */
export async function testDocument(programs, adminUrl, args = []) {
    const st = await installSchemathesis();
    if (!st) return { code: 0, skipped: 1 };
    let [cases, passed, failed] = [0, 0, 0];
    for (const [about, keys] of Object.entries({ 'no keys': {}, keys: KEYS })) {
        console.log(`\nA service with ${about}:`);
        const database = await createDatabase(adminUrl);
        onStop(database.drop);
        const service = await startServe({
            program: programs.serve,
            port: await freePort(),
            databaseUrl: database.url,
            env: { ...withoutKeys(process.env), ...keys, RUST_LOG: 'warn' },
            logName: 'schemathesis',
        });
        const command = ['run', `${service.url}/openapi.json`, '--checks', 'all', '--max-examples', '300', '--no-color'];
        const options = ['--seed', '1', '--generation-database', 'none', '--warnings', 'off', ...args];
        const env = {
            SCHEMATHESIS_HOOKS: 'hooks',
            STOCKHOLD_TOKEN: keys.API_KEYS ? 'second-key' : '',
            PYTHONPATH: HERE,
            PYTHONDONTWRITEBYTECODE: '1',
            NO_PROXY: '127.0.0.1',
        };
        const { code, output } = await runAndRead(st, [...command, ...options], env, FOLDER);
        await service.stop();
        cases += Number(output.match(/^\s+(\d+) generated/m)?.[1] ?? 0);
        if (code === 0) passed += 1;
        else failed += 1;
    }
    console.log(`\n${cases} calls made from the document.`);
    if (cases < CASES_MIN) console.error(`There are to be ${CASES_MIN} at least.`);
    return { code: failed > 0 || cases < CASES_MIN ? 1 : 0, passed, failed };
}

/** The program `st`; null, with a word, where Python or its packages cannot be had. */
async function installSchemathesis() {
    const python = findPython();
    if (!python) {
        console.log('Skipped: Python 3.10 to 3.13 with its venv module was not found.');
        return null;
    }
    try {
        return join(await installPackages(python, FOLDER, join(HERE, 'requirements.txt')), 'st');
    } catch (error) {
        if (!(error instanceof Complaint)) throw error;
        console.log(`Skipped: ${error.message}`);
        return null;
    }
}
