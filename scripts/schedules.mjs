// `npm run test:schedules`: calls that stop at locks of the database, in every order, over two service processes that share
// a fresh database. `-- --runs 20` plays the same schedules in so many runs, which must come out the same. Other arguments
// go to `stockhold-harness explore` as they are.

import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { build, checkToolchain } from './helpers/cargo.mjs';
import { Complaint } from './helpers/complaint.mjs';
import { run, testTwoServices } from './concurrency.mjs';
import { testServerUrl } from './helpers/postgres.mjs';
import { removeAtEnd } from './helpers/processes.mjs';

// Calls that leave together in one statement never meet each other at a lock: here each goes by itself.
const env = { COALESCING: 'off' };

export async function main(args) {
    const at = args.findIndex((arg) => /^--runs(=|$)/.test(arg));
    if (at < 0) return run('explore', args, { env });
    const [, inline] = args[at].split(/=(.*)/s);
    const runs = Number(inline ?? args[at + 1]);
    if (!Number.isInteger(runs) || runs < 2) throw new Complaint('--runs wants a number from 2.');
    const rest = args.toSpliced(at, inline === undefined ? 2 : 1);
    const own = rest.find((arg) => /^--(url|database-url|transcript|json)(=|$)/.test(arg));
    if (own) throw new Complaint(`--runs starts services of its own and writes the transcripts itself: leave out ${own}.`);
    checkToolchain();
    const adminUrl = await testServerUrl();
    const programs = await build(['serve', 'stockhold-harness']);
    const { code, passed } = await exploreAgain(programs, adminUrl, runs, rest);
    if (code === 0) console.log(`${runs} runs of ${passed} schedules, each played twice: one transcript.`);
    return code;
}

/** Plays the same schedules in several runs, which must come out the same; resolves to how many were played. */
export async function exploreAgain(programs, adminUrl, runs, args) {
    const folder = await mkdtemp(join(tmpdir(), 'stockhold-schedules-'));
    removeAtEnd(folder);
    let first;
    for (let number = 1; number <= runs; number += 1) {
        const file = join(folder, `transcript-${number}`);
        const seed = args.some((arg) => /^--seed(=|$)/.test(arg)) ? [] : ['--seed', '1'];
        const command = ['explore', '--quiet', ...seed, ...args, '--transcript', file];
        const { code } = await testTwoServices(programs, adminUrl, command, { env });
        if (code !== 0) return { code };
        const transcript = (await readFile(file, 'utf8')).split('\n');
        first ??= transcript;
        const place = first.findIndex((line, index) => line !== transcript[index]);
        if (place >= 0 || first.length !== transcript.length) {
            const told = [first[place - 1], first[place], transcript[place]].join('\n');
            console.error(`Runs 1 and ${number} came out differently:\n${told}`);
            return { code: 1 };
        }
    }
    return { code: 0, passed: first.filter((line) => line.includes(' => ')).length };
}
