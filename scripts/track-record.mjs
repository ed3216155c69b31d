// `npm run test:track-record`: races three published packages that promise not to oversell, and do.
//
// Each is installed from PyPI unmodified, behind an HTTP wrapper of `harness/examples/`, as two processes over one
// database. The harness is given the two URLs and nothing else. The script prints what broke, and which of the known
// faults of each package were found. The exit code is 1 when a known fault was not found.

import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { build, checkToolchain, PROJECT } from './helpers/cargo.mjs';
import { Complaint } from './helpers/complaint.mjs';
import { createDatabase } from './helpers/database.mjs';
import { freePort } from './helpers/ports.mjs';
import { testServerUrl } from './helpers/postgres.mjs';
import { isStopping, onStop, startProcess } from './helpers/processes.mjs';
import { findPython, installPackages } from './helpers/python.mjs';

const FOLDER = join(PROJECT, '.stockhold', 'track-record');
const EXAMPLES = join(PROJECT, 'harness', 'examples');
const READY_MS_MAX = 60_000;
const RACE_MS_MAX = 300_000;

// `faults` were reproduced by hand. `scenarios` and `says` match the name and the sentence by which the harness reports
// one. `not_judged` scenarios need an operation that the package does not have: the wrapper breaks them, not the package.
const PACKAGES = [
    {
        name: 'neveroversell',
        version: '0.1.0',
        wrapper: 'neveroversell_http.py',
        faults: [
            {
                what: 'one key five times at once on the last unit: 1 held, 4 told that none is left',
                scenarios: /key|lost_answer/,
                says: /insufficient|refused|one reservation/,
            },
            {
                what: 'one key, then the same key with another quantity: answered as a repeat',
                scenarios: /key|lost_answer/,
                says: /quantity|another request/,
            },
            {
                what: 'a confirm waits for the lock, its deadline passes, and it is granted',
                scenarios: /confirm_expire$|confirm_deadline/,
                says: /was confirmed although its deadline had passed/,
            },
            {
                what: 'a hold of 2 s waits for the lock: what is left of its life when it is granted is less',
                scenarios: /burst|last_unit|mixed/,
                says: /shorter|life|deadline .* than asked/,
            },
            {
                what: 'a hold is cancelled after its deadline',
                scenarios: /cancel/,
                says: /was cancelled although its deadline had passed/,
            },
        ],
    },
    {
        name: 'flexcommerce-inventory',
        version: '1.0.0',
        wrapper: 'flexcommerce_inventory_http.py',
        faults: [
            {
                what: 'a hold expires, its unit is sold to another, its payment lands: sold 2 of 1',
                scenarios: /resale/,
                says: /was confirmed|were sold/,
            },
            {
                what: 'a hold is confirmed after it was cancelled',
                scenarios: /refusals/,
                says: /told it is confirmed, another that it is cancelled|must be refused/,
            },
            {
                what: "a release between a confirm's read and its claim gives the units back twice: sold 4 of 3",
                scenarios: /cancel_confirm/,
                says: /nothing is left|the answers imply available|were sold/,
            },
        ],
    },
    {
        name: 'stateset-embedded',
        version: '1.40.0',
        wrapper: 'stateset_embedded_http.py',
        file: true,
        // Lapsed holds count in every read until the next reservation of their item, and there is no sweep to end that.
        not_judged: ['sweeps', 'availability'],
        faults: [
            {
                what: 'what is confirmed expires at its old deadline, and its unit is sold again',
                scenarios: /confirm_expire|confirm_deadline/,
                says: /nothing is left, but|were sold/,
            },
            {
                what: 'a cancelled hold is confirmed, or a confirmed one cancelled, and both are answered as done',
                scenarios: /refusals/,
                says: /told it is confirmed, another that it is cancelled|must be refused/,
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
    if (!python) {
        throw new Complaint(
            'Python 3.10 to 3.13 with its venv module is needed for this test (on Debian and Ubuntu the package ' +
                'python3-venv) and was not found: nothing was raced.',
        );
    }
    let harness = options.harness && resolve(options.harness);
    if (!harness) {
        checkToolchain();
        harness = (await build(['stockhold-harness']))['stockhold-harness'];
    }
    const interpreter = join(await installPackages(python, FOLDER, join(EXAMPLES, 'requirements.txt')), 'python');

    const packages = PACKAGES.filter(({ name }) => !options.package || options.package.includes(name));
    const adminUrl = packages.some(({ file }) => !file) ? await testServerUrl() : null;
    const findings = [];
    for (const pack of packages) {
        for (const seed of options.seed ?? ['1']) {
            if (isStopping()) return 1;
            findings.push(
                ...(await race(pack, { seed, harness, interpreter, adminUrl, scenarios: options.scenario ?? [] })),
            );
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
    const log = await open(join(work, 'race.log'), 'w');
    const command = [
        'race',
        ...wrappers.flatMap(({ url }) => ['--url', url]),
        ...scenarios.flatMap((scenario) => ['--scenario', scenario]),
        ...['--seed', seed, '--quiet', '--report', report],
    ];
    const output = scenarios.length > 0 ? 'inherit' : log.fd;
    const { exited, stop } = startProcess(harness, command, { stdio: ['ignore', output, output] });
    await log.close();
    // The harness reports what it has played when it is asked to end.
    const limit = setTimeout(stop, RACE_MS_MAX);
    const { code } = await exited;
    clearTimeout(limit);
    for (const wrapper of wrappers) await wrapper.stop();
    if (!isStopping()) await drop();

    const summary = await readFile(join(report, 'summary.json'), 'utf8').then(JSON.parse, () => null);
    if (!summary) {
        const logs = wrappers.map(({ logFile }) => logFile).join(' ');
        throw new Complaint(
            `The race of ${pack.name} made no report (exit code ${code}); the logs of the two: ${logs}`,
        );
    }
    console.log(`… ${summary.verdict}; the whole report: ${join(report, 'index.html')}`);
    return summary.scenarios
        .filter(({ scenario, failure }) => failure && !pack.not_judged?.includes(scenario))
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

function tell(packages, findings, { scenario: only }) {
    const rows = findings.map(({ pack, scenario, seed, round, what }) => [
        pack.name,
        pack.version,
        scenario,
        seed,
        round,
        shortened(what),
    ]);
    console.log(
        `\nWhat broke, over HTTP alone:\n\n${table(['package', 'version', 'scenario', 'seed', 'round', 'what'], rows)}`,
    );
    for (const { name, not_judged } of packages) {
        if (not_judged) console.log(`\n${name} has no sweep, so these do not count: ${not_judged.join(', ')}.`);
    }
    console.log('\nOne of them again: npm run test:track-record -- --package PACKAGE --scenario SCENARIO --seed SEED');
    if (only) return 0;

    let missed = 0;
    const known = packages.flatMap((pack) =>
        pack.faults.map(({ what, scenarios, says }) => {
            const there = findings.filter((finding) => finding.pack === pack && scenarios.test(finding.scenario));
            const found = there.filter((finding) => says.test(finding.what));
            if (found.length > 0) return [pack.name, `found: ${places(found)}`, what];
            missed += 1;
            return [pack.name, there.length > 0 ? `hidden by another: ${places(there)}` : 'NOT FOUND', what];
        }),
    );
    console.log(`\nFaults that are known of them:\n\n${table(['package', 'by this run', 'fault'], known)}`);
    if (missed > 0)
        console.log(`\n${missed} known faults were not found as such: that is a finding about the harness.`);
    return missed > 0 ? 1 : 0;
}

function places(findings) {
    const seeds = {};
    for (const { scenario, seed } of findings) (seeds[scenario] ??= []).push(seed);
    return Object.entries(seeds)
        .map(([scenario, list]) => `${scenario} (${list.join(', ')})`)
        .join(', ');
}

// An id is told by its end, as the harness does.
function shortened(text) {
    return text.trim().replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}([0-9a-f]{8})/g, '…$1');
}

function table(columns, lines) {
    const all = [columns, ...lines].map((line) => line.map(String));
    const widths = columns.map((_, index) => Math.max(...all.map((line) => line[index].length)));
    return all
        .map((line) =>
            line
                .map((cell, index) => cell.padEnd(widths[index]))
                .join('  ')
                .trimEnd(),
        )
        .join('\n');
}
