// Every process the scripts start, and what makes sure that none stays behind.
//
// Each is started as the leader of its own process group, so that a Ctrl-C in the terminal reaches this process alone
// and everything is stopped in one order, the last started first. A watchdog (watchdog.mjs) knows them too, and stops
// them when this process dies without a word.

import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

import { Complaint } from './complaint.mjs';

const HAS_GROUPS = process.platform !== 'win32';

const closing = [];
let stopped = null;
let watchdog = null;

/** Runs `action` when the command ends, however it ends; the last one registered runs first. */
export function onStop(action) {
    if (stopped) throw new Complaint('stopped while it was starting.');
    closing.push(action);
}

export function isStopping() {
    return stopped !== null;
}

export function stopEverything() {
    stopped ??= (async () => {
        while (closing.length > 0) {
            const close = closing.pop();
            await close().catch((error) => console.error(`stockhold: ${error.message}`));
        }
        await closeWatchdog();
    })();
    return stopped;
}

/**
 * Starts a process that ends when this one does.
 * `exited` resolves to `{ code, signal }`; `stop()` asks with `stopSignal`, and insists after `graceMs`.
 */
export function startProcess(command, args, { stopSignal = 'SIGTERM', graceMs = 10_000, ...options } = {}) {
    if (stopped) throw new Complaint('stopped while it was starting.');
    tellWatchdog({});
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options, detached: HAS_GROUPS });
    const { pid } = child;
    if (pid) tellWatchdog({ watch: pid, signal: stopSignal });

    const exited = new Promise((resolve, reject) => {
        child.once('error', reject);
        child.once('exit', (code, signal) => {
            // What the leader left behind of its group: compilers, test binaries.
            kill(pid, 'SIGKILL');
            tellWatchdog({ forget: pid });
            resolve({ code, signal });
        });
    });
    exited.catch(() => {});

    let stopping = null;
    const stop = () => {
        stopping ??= (async () => {
            if (!pid || child.exitCode !== null || child.signalCode !== null) return;
            kill(pid, stopSignal);
            const insist = setTimeout(() => kill(pid, 'SIGKILL'), graceMs);
            await exited.catch(() => {});
            clearTimeout(insist);
        })();
        return stopping;
    };
    onStop(stop);
    return { child, pid, exited, stop };
}

/** Runs a program in the project, shows its output as it comes, and resolves to `{ code, output }`, without colours. */
export async function runAndRead(command, args, env, cwd = fileURLToPath(new URL('../..', import.meta.url))) {
    const { child, exited } = startProcess(command, args, {
        cwd,
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
        process.stdout.write(chunk);
        output += chunk;
    });
    const closed = new Promise((resolve) => child.stdout.once('close', resolve));
    const { code } = await exited;
    await closed;
    return { code: code ?? 1, output: stripVTControlCharacters(output) };
}

/** Removes a folder when the command ends, however it ends. */
export function removeAtEnd(folder) {
    tellWatchdog({ folder });
    onStop(() => rm(folder, { recursive: true, force: true }));
}

/** Calls `interrupt` once: at the first Ctrl-C, SIGTERM or SIGHUP, or when the npm that started us is gone. */
export function handleInterrupts(interrupt) {
    let interrupted = false;
    const once = (signal) => {
        if (interrupted) return;
        interrupted = true;
        if (signal === 'SIGINT') console.log('\nStopping …');
        interrupt(signal);
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, once);

    if (!process.env.npm_lifecycle_event) return;
    const ancestors = npmAncestors();
    const look = () => {
        if (process.ppid !== ancestors.parent || parentOf(ancestors.shell) !== ancestors.npm) once('SIGHUP');
    };
    setInterval(look, 500).unref();
}

/** The command line of a process, or '' when there is none. */
export function commandOf(pid) {
    const known = readProc(pid, 'cmdline').replaceAll('\0', ' ');
    if (known || process.platform === 'linux') return known;
    return spawnSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' }).stdout ?? '';
}

// npm runs a script through `sh -c`. Some shells replace themselves with the command, so that npm is our parent;
// others (dash) stay between, and then npm's death changes only the shell's parent.
function npmAncestors() {
    const parent = process.ppid;
    const shell = /^[^\0]*sh\0-c\0/.test(readProc(parent, 'cmdline')) ? parent : null;
    return { parent, shell, npm: parentOf(shell) };
}

function parentOf(pid) {
    if (!pid) return null;
    // After the name, which may hold anything: the state, then the parent.
    const fields = readProc(pid, 'stat').replace(/^.*\) /s, '');
    return fields.split(' ')[1] ?? null;
}

function readProc(pid, file) {
    try {
        return readFileSync(`/proc/${pid}/${file}`, 'utf8');
    } catch {
        return '';
    }
}

function kill(pid, signal) {
    try {
        process.kill(HAS_GROUPS ? -pid : pid, signal);
    } catch (error) {
        if (error.code !== 'ESRCH' && error.code !== 'EPERM') throw error;
    }
}

function tellWatchdog(message) {
    if (!watchdog) {
        const script = fileURLToPath(new URL('watchdog.mjs', import.meta.url));
        watchdog = spawn(process.execPath, [script], { detached: true, stdio: ['pipe', 'ignore', 'ignore'], cwd: '/' });
        watchdog.stdin.on('error', () => {});
        watchdog.unref();
        watchdog.stdin.unref?.();
    }
    watchdog.stdin.write(`${JSON.stringify(message)}\n`);
}

async function closeWatchdog() {
    if (!watchdog || watchdog.exitCode !== null) return;
    const gone = new Promise((resolve) => watchdog.once('exit', resolve));
    watchdog.ref();
    watchdog.stdin.end(`${JSON.stringify({ done: true })}\n`);
    await Promise.race([gone, sleep(5_000, undefined, { ref: false })]);
}
