// Ports: one that is free, and whether one is taken.

import { once } from 'node:events';
import { createServer } from 'node:net';

import { Complaint } from './complaint.mjs';

export async function freePort() {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}

/** The port number of `PORT`, or one line on why the service could not listen there. */
export async function checkPort(text, host) {
    const port = Number(text);
    if (!/^\d+$/.test(text) || port < 1 || port > 65_535)
        throw new Complaint(`PORT is "${text}": a number from 1 to 65535 is needed.`);
    const server = createServer();
    try {
        server.listen(port, host);
        await once(server, 'listening');
    } catch (error) {
        switch (error.code) {
            case 'EADDRINUSE':
                throw new Complaint(
                    `Port ${port} is taken. Stop what listens there, or choose another: PORT=${another(port)} npm start`,
                );
            case 'EACCES':
                throw new Complaint(`Port ${port} may not be used by this account: choose one from 1024 up.`);
            default:
                throw new Complaint(`HOST is "${host}": the service cannot listen there (${error.code}).`);
        }
    }
    server.close();
    await once(server, 'close');
    return port;
}

function another(port) {
    return port < 65_535 ? port + 1 : 3000;
}
