// One `npm start` at a time in a folder. The holder listens on a port of its own and answers with a token; the lock file
// names both. A holder that died answers no more, so a lock never outlives it, and a reused process id deceives nobody.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';

/** Takes the lock and resolves to the function that gives it back, or to null when another process holds it. */
export async function takeLock(file) {
    if (await isHeld(file)) return null;
    await rm(file, { force: true });

    const token = randomUUID();
    const server = createServer((socket) => socket.on('error', () => {}).end(token));
    server.listen(0, '127.0.0.1').unref();
    await once(server, 'listening');
    try {
        await writeFile(file, JSON.stringify({ port: server.address().port, token }), { flag: 'wx', mode: 0o600 });
    } catch (error) {
        server.close();
        if (error.code === 'EEXIST') return null;
        throw error;
    }
    return async () => {
        await rm(file, { force: true });
        server.close();
    };
}

async function isHeld(file) {
    let lock;
    try {
        lock = JSON.parse(await readFile(file, 'utf8'));
    } catch {
        return false;
    }
    return new Promise((resolve) => {
        let answer = '';
        const socket = connect(lock.port, '127.0.0.1')
            .setEncoding('utf8')
            .setTimeout(2_000, () => socket.destroy());
        socket.on('data', (chunk) => (answer += chunk));
        socket.on('error', () => {});
        socket.on('close', () => resolve(answer === lock.token));
    });
}
