// What the tests look at: the processes of this machine, and whether something becomes true.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export async function eventually(condition, what) {
    for (const start = Date.now(); Date.now() - start < 10_000; await sleep(50)) {
        if (await condition()) return;
    }
    assert.fail(`not within 10 s: ${what}`);
}

/** Every process as `{ pid, ppid, args }`, from /proc where there is one: small images have no `ps`. */
export function processes() {
    if (process.platform === 'linux') {
        return readdirSync('/proc')
            .filter((name) => /^\d+$/.test(name))
            .flatMap(readProcess);
    }
    const { stdout } = spawnSync('ps', ['-eww', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' });
    return [...stdout.matchAll(/^\s*(\d+)\s+(\d+)\s+(.*)$/gm)].map(([, pid, ppid, args]) => ({
        pid: Number(pid),
        ppid: Number(ppid),
        args,
    }));
}

function readProcess(name) {
    try {
        const args = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const ppid = Number(
            readFileSync(`/proc/${name}/stat`, 'utf8')
                .replace(/^.*\) /s, '')
                .split(' ')[1],
        );
        return [{ pid: Number(name), ppid, args }];
    } catch {
        return [];
    }
}
