// The door of every npm script: `node scripts/run.mjs start` (or test, concurrency, schedules, faults, mutants, schemathesis,
// track-record, demo, bench) and its arguments.
//
// It needs nothing but Node.js, so that a fresh clone works with nothing else typed: it installs the npm dependencies
// when they are absent, runs the command, turns a failure into one line, and lets no process outlive it.

import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Complaint } from './helpers/complaint.mjs';

const PROJECT = fileURLToPath(new URL('..', import.meta.url));
const COMMANDS = ['start', 'test', 'concurrency', 'schedules', 'faults', 'mutants', 'schemathesis', 'track-record', 'demo', 'bench'];
// Failures of the machine, not of the program: their message says enough.
const PLAIN_FAILURES = ['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT', 'EMFILE'];

checkNode();
// Only now: an old Node.js does not even read the rest.
const { installPackages } = await import('./helpers/npm.mjs');
const { handleInterrupts, isStopping, stopEverything } = await import('./helpers/processes.mjs');

const [name, ...args] = process.argv.slice(2);
handleInterrupts(async (signal) => {
    await stopEverything();
    // To stop `npm start` is the ordinary way to end it; a test that was stopped has not passed.
    process.exit(name === 'start' ? 0 : 128 + constants.signals[signal]);
});

let exitCode = 1;
try {
    if (!COMMANDS.includes(name)) throw new Complaint(`usage: node scripts/run.mjs ${COMMANDS.join(' | ')}`);
    await installDependencies();
    const command = await import(`./${name}.mjs`);
    exitCode = await command.main(args);
} catch (error) {
    // What breaks while everything is being stopped is no news.
    if (!isStopping()) complain(error);
}
// An interrupt that is at work chooses the exit code itself.
if (!isStopping()) {
    await stopEverything();
    process.exit(exitCode);
}

function complain(error) {
    const plain = error instanceof Complaint || PLAIN_FAILURES.includes(error.code);
    console.error(plain ? `\nstockhold: ${error.message}` : error);
}

function checkNode() {
    const { engines } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
    const [major, minor] = engines.node.match(/\d+/g).map(Number);
    const [ourMajor, ourMinor] = process.versions.node.split('.').map(Number);
    if (ourMajor < major || (ourMajor === major && ourMinor < minor)) {
        const needed = `${major}.${minor} or newer is needed (https://nodejs.org)`;
        console.error(`\nstockhold: Node.js ${process.versions.node} is too old: ${needed}.`);
        process.exit(1);
    }
}

async function installDependencies() {
    if (dependenciesInstalled()) return;
    console.log('Installing the npm dependencies: PostgreSQL 18 and a client for it (about 25 MB, once) …');
    if (await installPackages(PROJECT, ['--include=optional'])) return;
    throw new Complaint('npm could not install the dependencies; its own message is above.');
}

// npm writes its hidden lockfile last: without it an install was interrupted.
function dependenciesInstalled() {
    if (!existsSync(join(PROJECT, 'node_modules', '.package-lock.json'))) return false;
    const { dependencies } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
    return Object.entries(dependencies).every(([dependency, version]) => {
        const manifest = join(PROJECT, 'node_modules', dependency, 'package.json');
        return existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).version === version;
    });
}
