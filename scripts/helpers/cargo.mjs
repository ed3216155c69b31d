// The Rust side: whether the toolchain is there, and the programs it builds.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Complaint } from './complaint.mjs';
import { startProcess } from './processes.mjs';

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

const PACKAGES = {
    serve: 'stockhold-handlers',
    others: 'stockhold-handlers',
    get_item: 'stockhold-handlers',
    hot_item: 'stockhold',
    'stockhold-harness': 'stockhold-harness',
    'stockhold-mutants': 'stockhold-mutants',
    'stockhold-bench': 'stockhold-bench',
};
const EXAMPLES = ['hot_item'];

/** One line when Rust is missing or too old, before anything is built. */
export function checkToolchain() {
    // Right after its installation Rust is on the path of new shells only.
    const installed = join(process.env.CARGO_HOME || join(homedir(), '.cargo'), 'bin');
    if (existsSync(installed)) process.env.PATH += `${delimiter}${installed}`;

    const { stdout, stderr, error } = spawnSync('cargo', ['--version'], { cwd: PROJECT, encoding: 'utf8' });
    if (error) {
        throw new Complaint(
            'Rust is not installed (no `cargo` on the path): install it from https://rustup.rs, then run this again.',
        );
    }
    const needed = readFileSync(join(PROJECT, 'Cargo.toml'), 'utf8').match(/^rust-version = "(\d+\.\d+)/m)[1];
    const found = stdout.match(/\d+\.\d+/)?.[0];
    if (!found) throw new Complaint(`\`cargo --version\` fails: ${stderr.trim().split('\n')[0]}`);
    const [[major, minor], [ourMajor, ourMinor]] = [needed, found].map((version) => version.split('.').map(Number));
    if (ourMajor < major || (ourMajor === major && ourMinor < minor)) {
        throw new Complaint(
            `Rust ${found} is too old, ${needed} or newer is needed: run \`rustup update stable\`, then this again.`,
        );
    }
}

/** Builds what a person runs, optimised, and resolves to the paths by name. */
export async function build(programs) {
    const paths = {};
    for (const program of programs) {
        console.log(
            `Building ${program}: the first time every dependency too (about 3 minutes on two cores), later seconds …`,
        );
        const kind = EXAMPLES.includes(program) ? '--example' : '--bin';
        Object.assign(paths, await cargoBuild([program], ['--release', '-p', PACKAGES[program], kind, program]));
    }
    return paths;
}

/** Builds what `cargo test` runs, in one build that compiles nothing twice, and resolves to the paths of programs by name. */
export async function buildTests(programs) {
    console.log('Building the tests: the first time every dependency too (some minutes) …');
    return cargoBuild(programs, ['--workspace', '--bins', '--tests', '--examples']);
}

async function cargoBuild(programs, selection) {
    const cargo = startProcess(
        'cargo',
        ['build', '--locked', ...selection, '--message-format=json-render-diagnostics'],
        {
            cwd: PROJECT,
            stdio: ['ignore', 'pipe', 'inherit'],
        },
    );
    const paths = {};
    for await (const line of createInterface({ input: cargo.child.stdout })) {
        const { target, profile, executable } = line.startsWith('{') ? JSON.parse(line) : {};
        // The unit tests of a program carry its name too.
        if (executable && /^(bin|example)$/.test(target.kind[0]) && !profile.test) paths[target.name] = executable;
    }
    const { code } = await cargo.exited;
    if (code !== 0) throw new Complaint("The build failed; the compiler's own message is above.");
    const missing = programs.filter((program) => !paths[program]);
    if (missing.length > 0) throw new Complaint(`The build made no program ${missing.join(', ')}.`);
    return paths;
}
