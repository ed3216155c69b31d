// What the scripts ask a database themselves: whether its URL works, and a database of their own.

import { randomBytes } from 'node:crypto';

import pg from 'pg';

import { Complaint } from './complaint.mjs';

/** One line on what is wrong with a DATABASE_URL. It never repeats the URL: there is a password in it. */
export async function checkDatabaseUrl(text) {
    const url = parse(text);
    const place = `${url.hostname || 'localhost'}:${url.port || 5432}`;
    try {
        await query(text, 'select 1');
    } catch (error) {
        switch (error.code) {
            case 'ENOTFOUND':
            case 'EAI_AGAIN':
                throw new Complaint(`DATABASE_URL: the host ${url.hostname} is not known.`);
            case 'ECONNREFUSED':
                throw new Complaint(`DATABASE_URL: nothing listens at ${place}.`);
            case 'EHOSTUNREACH':
            case 'ENETUNREACH':
            case 'ETIMEDOUT':
                throw new Complaint(`DATABASE_URL: ${place} cannot be reached.`);
            case '28P01':
            case '28000':
                throw new Complaint(`DATABASE_URL: ${place} refuses the user or the password.`);
            case '3D000':
                throw new Complaint(`DATABASE_URL: there is no database of that name at ${place}.`);
        }
        if (/timeout/.test(error.message)) throw new Complaint(`DATABASE_URL: ${place} does not answer.`);
        // Anything else, TLS above all, the service may see differently: let it try and say so itself.
    }
}

/** Whether a query is answered; any failure is a no. */
export async function canConnect(url) {
    return query(url, 'select 1').then(
        () => true,
        () => false,
    );
}

/** Makes a database on the server of `adminUrl`; the answer has its `url` and `drop()`. */
export async function createDatabase(adminUrl, name = `stockhold_${randomBytes(6).toString('hex')}`, options = {}) {
    const known = await query(adminUrl, 'select 1 from pg_database where datname = $1', [name]);
    if (known.length === 0 || !options.unlessExists) {
        // A new database keeps nothing of another's settings: not the server's locale, not its template's tables.
        await query(adminUrl, `create database ${pg.escapeIdentifier(name)} template template0`).catch((error) => {
            if (error.code === '42501') throw new Complaint('DATABASE_URL: its role may not create a database.');
            throw error;
        });
    }
    const url = new URL(adminUrl);
    url.pathname = `/${name}`;
    const drop = () => query(adminUrl, `drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
    return { url: url.href, drop };
}

/** Runs one statement on a connection of its own and resolves to the rows. */
export async function query(url, text, values) {
    const { connectionString, sslmode } = withoutTlsOptions(url);
    // As the service does: TLS where the server offers it. Certificates are its business; here only the answer counts.
    const attempts = { disable: [false], allow: [false] }[sslmode] ?? [{ rejectUnauthorized: false }, false];
    for (const ssl of attempts) {
        const client = new pg.Client({ connectionString, ssl, connectionTimeoutMillis: 10_000 });
        client.on('error', () => {});
        try {
            await client.connect();
            return (await client.query(text, values)).rows;
        } catch (error) {
            if (!ssl || !/does not support SSL/.test(error.message)) throw error;
        } finally {
            await client.end().catch(() => {});
        }
    }
}

function parse(text) {
    let url;
    try {
        url = new URL(text);
        decodeURIComponent(url.username + url.password);
    } catch {
        url = null;
    }
    if (!url || !/^postgres(ql)?:$/.test(url.protocol)) {
        throw new Complaint(
            'DATABASE_URL is not of the form postgres://user:password@host:5432/database ' +
                '(a password with special characters has them percent-encoded).',
        );
    }
    return url;
}

function withoutTlsOptions(text) {
    const url = new URL(text);
    const sslmode = url.searchParams.get('sslmode') ?? 'prefer';
    for (const key of [...url.searchParams.keys()]) if (key.startsWith('ssl')) url.searchParams.delete(key);
    return { connectionString: url.href, sslmode };
}
