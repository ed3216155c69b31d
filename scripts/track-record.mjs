// `npm run test:track-record`: races three published packages that promise not to oversell, and do.
//
// Each is installed from PyPI as it is, stands behind an HTTP wrapper in `harness/examples/`, and runs as two processes
// over one database. The harness knows the two URLs and nothing else. Printed is what broke, and whether the faults that
// are known of each package were found; the exit code is 1 when one of them was not.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { build, checkToolchain, PROJECT } from './cargo.mjs';
import { Complaint } from './complaint.mjs';
import { createDatabase } from './database.mjs';
import { freePort } from './ports.mjs';
import { testServerUrl } from './postgres.mjs';
import { isStopping, onStop, startProcess } from './processes.mjs';

const FOLDER = join(PROJECT, '.stockhold', 'track-record');
const EXAMPLES = join(PROJECT, 'harness', 'examples');
const READY_MS_MAX = 60_000;
const RACE_MS_MAX = 300_000;

// `faults` are those seen by hand; `shows` says whether what the harness says of a scenario is that fault.
const PACKAGES = [
    {
        name: 'neveroversell',
        version: '0.1.0',
        wrapper: 'neveroversell_http.py',
        faults: [
            {
                what: 'one key five times at once on the last unit: 1 held, 4 told "insufficient"',
                shows: ({ scenario, what }) => /key|lost_answer/.test(scenario) && /insufficient|refused|409/.test(what),
            },
            {
                what: 'a confirm that waits at the lock is granted after the deadline',
                shows: ({ what }) => /was confirmed although its deadline had passed/.test(what),
            },
            {
                what: 'the same key with another quantity is answered as a repeat',
                shows: ({ scenario, what }) => /key/.test(scenario) && /quantity/.test(what),
            },
        ],
    },
    {
        name: 'flexcommerce-inventory',
        version: '1.0.0',
        wrapper: 'flexcommerce_inventory_http.py',
        faults: [
            {
                what: 'a hold expires, its unit is sold again, and the first payment is taken as well',
                shows: ({ scenario, what }) => /resale/.test(scenario) && /was confirmed although/.test(what),
            },
            {
                what: 'a release between the read and the claim of a confirm: the units come back twice',
                shows: ({ scenario, what }) => /cancel_confirm/.test(scenario) && /nothing is left|implies|imply/.test(what),
            },
        ],
    },
    {
        name: 'stateset-embedded',
        version: '1.40.0',
        wrapper: 'stateset_embedded_http.py',
        file: true,
        faults: [
            {
                what: 'a confirmed reservation lapses at its deadline, and its unit is sold again',
                shows: ({ scenario, what }) => /confirm_expire|sold/.test(scenario) && /nothing is left, but/.test(what),
            },
        ],
    },
];

const USAGE = `npm run test:track-record -- [--package NAME]… [--seed N]… [--scenario NAME]… [--harness PROGRAM]

  --package    only this one of ${PACKAGES.map(({ name }) => name).join(', ')}
  --seed       where the harness's choices come from (1); each one is a race of its own
  --scenario   only this scenario of the harness
  --harness    a stockhold-harness that is built already`;

export async function main(args) {
    const options = readOptions(args);
    if (options.help) return console.log(USAGE) ?? 0;
    const python = findPython();
    let harness = options.harness && resolve(options.harness);
    if (!harness) {
        checkToolchain();
        harness = (await build(['stockhold-harness']))['stockhold-harness'];
    }
    const interpreter = await installPackages(python);

    const packages = PACKAGES.filter(({ name }) => !options.package || options.package.includes(name));
    const adminUrl = packages.some(({ file }) => !file) ? await testServerUrl() : null;
    const findings = [];
    for (const pack of packages) {
        for (const seed of options.seed ?? ['1']) {
            findings.push(...(await race(pack, { seed, harness, interpreter, adminUrl, scenarios: options.scenario ?? [] })));
        }
    }
    return tell(packages, findings, options);
}

function readOptions(args) {
    const many = { type: 'string', multiple: true };
    try {
        const { values } = parseArgs({
            args,
            options: {
                package: many,
                seed: many,
                scenario: many,
                harness: { type: 'string' },
                help: { type: 'boolean', short: 'h' },
            },
        });
        const unknown = values.package?.find((wanted) => !PACKAGES.some(({ name }) => name === wanted));
        if (unknown) throw new Error(`There is no package "${unknown}" here.`);
        return values;
    } catch (error) {
        throw new Complaint(`${error.message}\n\n${USAGE}`);
    }
}

// ---- Python -----------------------------------------------------------------------------------------------------------

function findPython() {
    // stateset-embedded has wheels for CPython up to 3.13, and Django 5.2 begins with 3.10.
    const look = 'import ensurepip, sys, venv; print(*sys.version_info[:2])';
    for (const command of ['python3', 'python', 'python3.13', 'python3.12', 'python3.11', 'python3.10']) {
        const { status, stdout } = spawnSync(command, ['-c', look], { encoding: 'utf8' });
        const [major, minor] = status === 0 ? stdout.split(' ').map(Number) : [];
        if (major === 3 && minor >= 10 && minor <= 13) return { command, version: `${major}.${minor}` };
    }
    throw new Complaint(
        'Python 3.10 to 3.13 with its venv module is needed for this test (on Debian and Ubuntu the package ' +
            'python3-venv) and was not found: nothing was raced.',
    );
}

// The marker is written last: without it an installation was interrupted, or was of other versions.
async function installPackages({ command, version }) {
    const venv = join(FOLDER, 'venv');
    const programs = join(venv, process.platform === 'win32' ? 'Scripts' : 'bin');
    const marker = join(venv, 'installed');
    const requirements = join(EXAMPLES, 'requirements.txt');
    const wanted = createHash('sha256').update(version).update(await readFile(requirements)).digest('hex');
    if ((await readFile(marker, 'utf8').catch(() => '')) !== wanted) {
        console.log('Installing the three packages from PyPI, with what they bring (about 60 MB, once) …');
        await rm(venv, { recursive: true, force: true });
        await mkdir(FOLDER, { recursive: true });
        await run(command, ['-m', 'venv', venv], 'Python could not make a virtual environment');
        const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--only-binary=:all:', '-r', requirements];
        await run(join(programs, 'python'), install, 'pip could not install the packages');
        await writeFile(marker, wanted);
    }
    return join(programs, 'python');
}

async function run(command, args, complaint) {
    const { code } = await startProcess(command, args).exited;
    if (code !== 0) throw new Complaint(`${complaint}; its own message is above.`);
}

// ---- one race ---------------------------------------------------------------------------------------------------------

async function race(pack, { seed, harness, interpreter, adminUrl, scenarios }) {
    console.log(`\n${pack.name} ${pack.version}, seed ${seed}: two processes, one database …`);
    const work = join(FOLDER, `${pack.name}-${seed}`);
    await rm(work, { recursive: true, force: true });
    await mkdir(work, { recursive: true });
    const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };
    let drop = () => {};
    if (pack.file) {
        env.DATABASE_FILE = join(work, 'store.db');
    } else {
        const database = await createDatabase(adminUrl);
        onStop(database.drop);
        ({ drop } = database);
        env.DATABASE_URL = database.url;
    }

    const wrappers = [];
    // One after the other: the first one makes the tables.
    for (const number of [1, 2]) {
        wrappers.push(await startWrapper(pack, { interpreter, env, logFile: join(work, `process-${number}.log`) }));
    }
    const report = join(work, 'report');
    const { exited, stop } = startProcess(harness, [
        'race',
        ...wrappers.flatMap(({ url }) => ['--url', url]),
        ...scenarios.flatMap((scenario) => ['--scenario', scenario]),
        ...['--seed', seed, '--quiet', '--report', report],
    ]);
    // The harness reports what it has played when it is asked to end.
    const limit = setTimeout(stop, RACE_MS_MAX);
    const { code } = await exited;
    clearTimeout(limit);
    for (const wrapper of wrappers) await wrapper.stop();
    if (!isStopping()) await drop();

    const summary = await readFile(join(report, 'summary.json'), 'utf8').then(JSON.parse, () => null);
    if (!summary) {
        const logs = wrappers.map(({ logFile }) => logFile).join(' ');
        throw new Complaint(`The race of ${pack.name} made no report (exit code ${code}); the logs of the two: ${logs}`);
    }
    return summary.scenarios
        .filter(({ failure }) => failure)
        .map(({ scenario, failure }) => ({ pack, seed, scenario, ...failure }));
}

async function startWrapper({ name, wrapper }, { interpreter, env, logFile }) {
    const port = await freePort();
    const log = await open(logFile, 'w');
    const service = startProcess(interpreter, [join(EXAMPLES, wrapper), String(port)], {
        env,
        stdio: ['ignore', log.fd, log.fd],
    });
    await log.close();
    let over = false;
    service.exited.then(
        () => (over = true),
        () => (over = true),
    );
    const url = `http://127.0.0.1:${port}`;
    for (const start = Date.now(); !over && Date.now() - start < READY_MS_MAX; await sleep(50)) {
        if (await answers(url)) return { ...service, url, logFile };
    }
    throw new Complaint(`The wrapper of ${name} did not start; its own message is in ${logFile}`);
}

async function answers(url) {
    return fetch(`${url}/v1/no-route`, { signal: AbortSignal.timeout(5_000) }).then(
        ({ status }) => status === 404,
        () => false,
    );
}

// ---- what is told -----------------------------------------------------------------------------------------------------

function tell(packages, findings, { scenario: scenarios }) {
    const rows = findings.map(({ pack, scenario, seed, round, what }) => [
        pack.name,
        pack.version,
        scenario,
        seed,
        round,
        shortened(what),
    ]);
    console.log(`\nWhat broke, over HTTP alone:\n\n${table(['package', 'version', 'scenario', 'seed', 'round', 'what'], rows)}`);
    console.log('\nOne of them again: npm run test:track-record -- --package PACKAGE --scenario SCENARIO --seed SEED');

    let missed = 0;
    const known = packages.flatMap((pack) =>
        pack.faults.map(({ what, shows }) => {
            const found = findings.filter((finding) => finding.pack === pack && shows(finding));
            if (found.length === 0) missed += 1;
            const where = [...new Set(found.map(({ scenario, seed }) => `${scenario}, seed ${seed}`))].join('; ');
            return [pack.name, where || 'NOT FOUND', what];
        }),
    );
    console.log(`\nFaults that are known of them:\n\n${table(['package', 'found by', 'fault'], known)}`);
    if (scenarios) return 0;
    if (missed > 0) console.log(`\n${missed} known faults were not found: that is a finding about the harness.`);
    return missed > 0 ? 1 : 0;
}

// An id is told by its end, as the harness does.
function shortened(text) {
    return text.replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}([0-9a-f]{8})/g, '…$1');
}

function table(columns, lines) {
    const all = [columns, ...lines].map((line) => line.map(String));
    const widths = columns.map((_, index) => Math.max(...all.map((line) => line[index].length)));
    return all.map((line) => line.map((cell, index) => cell.padEnd(widths[index])).join('  ').trimEnd()).join('\n');
}
