// Stops what the scripts started when they die without a word (kill -9, a crash): its stdin is a pipe to them, and the
// pipe ends when they do. Messages are lines of JSON: `watch` a process group, `forget` it, remove a `folder`, `done`.

import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const GRACE_MS = 10_000;

const watched = new Map();
const folders = new Set();

// It outlives a Ctrl-C on purpose: only the end of the pipe ends it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});

for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line);
    if (message.watch) watched.set(message.watch, message.signal);
    if (message.forget) watched.delete(message.forget);
    if (message.folder) folders.add(message.folder);
    if (message.done) process.exit(0);
}
const ended = Date.now();

for (const [pid, signal] of watched) kill(pid, signal);
for (const [pid] of watched) {
    while (isAlive(pid) && Date.now() - ended < GRACE_MS) await sleep(50);
    kill(pid, 'SIGKILL');
}
for (const folder of folders) await rm(folder, { recursive: true, force: true, maxRetries: 5 });

// A dead process that its new parent has not collected yet (a container without an init) is gone all the same.
function isAlive(pid) {
    try {
        return !/^.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    } catch {
        return kill(pid, 0);
    }
}

function kill(pid, signal) {
    try {
        process.kill(process.platform === 'win32' ? pid : -pid, signal);
        return true;
    } catch {
        return false;
    }
}
