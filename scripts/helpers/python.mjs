// Python, for the tests that need a package of PyPI: whether it is there, and a virtual environment with what is asked for.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { Complaint } from './complaint.mjs';
import { startProcess } from './processes.mjs';

/** A Python 3.10 to 3.13 with its venv module; null where there is none. */
export function findPython() {
    // stateset-embedded has wheels for CPython up to 3.13, and Django 5.2 and Schemathesis 4 begin with 3.10.
    const look = 'import ensurepip, sys, venv; print(*sys.version_info[:2])';
    for (const command of ['python3', 'python', 'python3.13', 'python3.12', 'python3.11', 'python3.10']) {
        const { status, stdout } = spawnSync(command, ['-c', look], { encoding: 'utf8' });
        const [major, minor] = status === 0 ? stdout.split(' ').map(Number) : [];
        if (major === 3 && minor >= 10 && minor <= 13) return { command, version: `${major}.${minor}` };
    }
    return null;
}

/** Installs what a requirements file names into a virtual environment in `folder`; resolves to its folder of programs. */
export async function installPackages({ command, version }, folder, requirements) {
    const venv = join(folder, 'venv');
    const programs = join(venv, process.platform === 'win32' ? 'Scripts' : 'bin');
    // The marker is written last: without it an installation was interrupted, or was of other versions.
    const marker = join(venv, 'installed');
    const wanted = createHash('sha256')
        .update(version)
        .update(await readFile(requirements))
        .digest('hex');
    if ((await readFile(marker, 'utf8').catch(() => '')) !== wanted) {
        console.log(`Installing what ${basename(requirements)} names from PyPI, with what it brings (once) …`);
        await rm(venv, { recursive: true, force: true });
        await mkdir(folder, { recursive: true });
        await run(command, ['-m', 'venv', venv], 'Python could not make a virtual environment');
        const options = ['--quiet', '--disable-pip-version-check', '--only-binary=:all:'];
        const install = ['-m', 'pip', 'install', ...options, '-r', requirements];
        await run(join(programs, 'python'), install, 'pip could not install the packages');
        await writeFile(marker, wanted);
    }
    return programs;
}

async function run(command, args, complaint) {
    const { code } = await startProcess(command, args).exited;
    if (code !== 0) throw new Complaint(`${complaint}; its own message is above.`);
}
