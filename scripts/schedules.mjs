// `npm run test:schedules`: calls that stop at locks of the database, in every order, over two service processes that share
// a fresh database. Arguments go to `stockhold-harness explore` as they are.

import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { run, testTwoServices } from './concurrency.mjs';
import { removeAtEnd } from './processes.mjs';

// Calls that leave together in one statement never meet each other at a lock: here each goes by itself.
const env = { COALESCING: 'off' };

export async function main(args) {
    return run('explore', args, { env });
}

/** Plays the same schedules in two runs, which must come out the same; resolves to how many were played. */
export async function exploreTwice(programs, adminUrl, schedules) {
    const folder = await mkdtemp(join(tmpdir(), 'stockhold-schedules-'));
    removeAtEnd(folder);
    const transcripts = [];
    for (const number of [1, 2]) {
        const file = join(folder, `transcript-${number}`);
        const args = ['explore', '--quiet', '--seed', '1', '--schedules', String(schedules), '--transcript', file];
        const { code } = await testTwoServices(programs, adminUrl, args, { env });
        if (code !== 0) return { code };
        transcripts.push((await readFile(file, 'utf8')).split('\n'));
    }
    const [first, second] = transcripts;
    const place = first.findIndex((line, index) => line !== second[index]);
    if (place >= 0 || first.length !== second.length) {
        console.error(`Two runs came out differently:\n${first[place - 1]}\n${first[place]}\n${second[place]}`);
        return { code: 1 };
    }
    return { code: 0, passed: first.filter((line) => line.includes(' => ')).length };
}
