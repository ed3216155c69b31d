// `npm test`: the Rust tests, the tests of these scripts, a short race and a mutant of each kind, all of them even when one
// fails, on a throw-away PostgreSQL (or the server of DATABASE_URL, whose role may create databases). The last line adds them up.

import { readdirSync } from 'node:fs';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { buildTests, checkToolchain, PROJECT } from './helpers/cargo.mjs';
import { Complaint } from './helpers/complaint.mjs';
import { testTwoServices } from './concurrency.mjs';
import { testFaults } from './faults.mjs';
import { tryMutants } from './mutants.mjs';
import { testServerUrl } from './helpers/postgres.mjs';
import { isStopping, removeAtEnd, runAndRead } from './helpers/processes.mjs';
import { exploreAgain } from './schedules.mjs';
import { testDocument } from './schemathesis.mjs';

const PROGRAMS = ['serve', 'stockhold-harness', 'stockhold-mutants', 'stockhold-bench'];
const SHORT_RACE = ['race', '--rounds', '3'];
const SCHEDULES = '160';
// Their output passes through here, so they do not see the terminal themselves.
const colours = process.stdout.isTTY ? { CARGO_TERM_COLOR: 'always', FORCE_COLOR: '1' } : {};

export async function main(args) {
    if (args.length > 0) throw new Complaint('`npm test` takes no arguments: it runs everything.');
    checkToolchain();
    const adminUrl = await testServerUrl();
    const programs = {};
    const results = [
        await step('build', async () => {
            Object.assign(programs, await buildTests([...PROGRAMS, 'control']));
            return {};
        }),
        await step('cargo test', () => cargoTest(adminUrl)),
        await step('scripts', () => scriptTests(programs)),
        await step('race', () => shortRace(programs, adminUrl)),
        await step('document', () => shortDocument(programs, adminUrl)),
        await step('faults', () => shortFaults(programs, adminUrl)),
        await step('schedules', () => exploreAgain(programs, adminUrl, 2, ['--schedules', SCHEDULES])),
        await step('mutants', () => shortMutants(programs, adminUrl)),
    ];
    const sum = (key) => results.reduce((total, result) => total + (result[key] ?? 0), 0);
    const [passed, failed, skipped] = ['passed', 'failed', 'skipped'].map(sum);
    for (const { name } of results.filter((result) => result.failed > 0)) console.log(`Failed: ${name}`);
    console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
    return failed > 0 || passed === 0 ? 1 : 0;
}

// A step that fails without naming a failed test (it did not compile, it crashed) counts as one failure.
async function step(name, run) {
    console.log(`\n── ${name} ──`);
    let result;
    try {
        result = await run();
    } catch (error) {
        if (isStopping()) throw error;
        console.error(error.message);
        result = { code: 1 };
    }
    const failed = result.failed || (result.code ? 1 : 0);
    return { ...result, name, failed };
}

async function cargoTest(adminUrl) {
    const { code, output } = await runAndRead('cargo', ['test', '--workspace', '--locked', '--no-fail-fast'], {
        ...colours,
        DATABASE_URL: adminUrl,
    });
    const lines = [...output.matchAll(/^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored;/gm)];
    const [passed, failed, skipped] = [1, 2, 3].map((group) =>
        lines.reduce((sum, line) => sum + Number(line[group]), 0),
    );
    return { code, passed, failed, skipped };
}

async function scriptTests(programs) {
    const scripts = join(PROJECT, 'scripts');
    const files = readdirSync(scripts).filter((file) => file.endsWith('.test.mjs'));
    const { code, output } = await runAndRead(
        process.execPath,
        ['--test', '--test-reporter=spec', '--test-concurrency=2', ...files.map((file) => join(scripts, file))],
        {
            ...colours,
            STOCKHOLD_SERVE: programs.serve ?? '',
            STOCKHOLD_HARNESS: programs['stockhold-harness'] ?? '',
            STOCKHOLD_BENCH: programs['stockhold-bench'] ?? '',
            STOCKHOLD_CONTROL: programs.control ?? '',
            DATABASE_URL: '',
        },
    );
    const count = (key) => Number(output.match(new RegExp(`^\\S+ ${key} (\\d+)$`, 'm'))?.[1] ?? 0);
    return {
        code,
        passed: count('pass'),
        failed: count('fail') + count('cancelled'),
        skipped: count('skipped') + count('todo'),
    };
}

async function shortRace(programs, adminUrl) {
    if (!programs.serve || !programs['stockhold-harness'])
        throw new Error('The race needs the programs that were not built.');
    return countScenarios((out) => testTwoServices(programs, adminUrl, [...SHORT_RACE, '--report', out]));
}

async function shortDocument(programs, adminUrl) {
    if (!programs.serve) throw new Error('The document needs the program that was not built.');
    return testDocument(programs, adminUrl);
}

async function shortFaults(programs, adminUrl) {
    if (!programs.serve || !programs['stockhold-harness'])
        throw new Error('The faults need the programs that were not built.');
    return countScenarios((out) => testFaults(programs, adminUrl, ['--rounds', '2', '--report', out]));
}

/** Runs a race that writes its report, and counts the verdicts in it. */
async function countScenarios(race) {
    const out = join(await newFolder(), 'report');
    const { code } = await race(out);
    const { scenarios } = JSON.parse(await readFile(join(out, 'summary.json'), 'utf8'));
    const played = scenarios.filter(({ skipped }) => !skipped);
    const passed = played.filter(({ verdict }) => verdict === 'held').length;
    return { code, passed, failed: played.length - passed, skipped: scenarios.length - played.length };
}

async function shortMutants(programs, adminUrl) {
    if (!programs.serve || !programs['stockhold-mutants'])
        throw new Error('The mutants need the programs that were not built.');
    const file = join(await newFolder(), 'mutants.json');
    const { code } = await tryMutants(programs, adminUrl, ['--short', '--json', file]);
    const { caught, escaped } = JSON.parse(await readFile(file, 'utf8'));
    return { code, passed: caught.length, failed: escaped.length };
}

async function newFolder() {
    const folder = await mkdtemp(join(tmpdir(), 'stockhold-test-'));
    removeAtEnd(folder);
    return folder;
}
