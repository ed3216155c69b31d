// `npm start`: the service on a database that is kept between runs, until Ctrl-C.

import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { build, checkToolchain, PROJECT } from './helpers/cargo.mjs';
import { Complaint } from './helpers/complaint.mjs';
import { checkDatabaseUrl } from './helpers/database.mjs';
import { checkPort } from './helpers/ports.mjs';
import { startKeptPostgres } from './helpers/postgres.mjs';
import { startServe } from './helpers/serve.mjs';

export async function main(args) {
    const fresh = args.includes('--fresh');
    const unknown = args.find((arg) => arg !== '--fresh');
    if (unknown)
        throw new Complaint(`\`npm start\` does not know "${unknown}"; it knows --fresh, which empties the database.`);
    readEnvFile();

    // What can be refused is refused before minutes of building.
    const host = process.env.HOST || '127.0.0.1';
    const port = await checkPort(process.env.PORT || '3000', host);
    checkToolchain();
    const database = await openDatabase(fresh);
    const { serve: program } = await build(['serve']);

    console.log('Starting the service …');
    const service = await startServe({ program, host, port, databaseUrl: database.url });
    console.log(`
Stockhold is ready. Ctrl-C stops it.

  API       ${service.url}/v1
  Docs      ${service.url}/docs
  OpenAPI   ${service.url}/openapi.json
${database.urlFile ? `  Database  psql "$(cat '${database.urlFile}')"\n` : ''}`);

    const ended = [service.exited.then(() => 'The service'), database.exited?.then(() => 'PostgreSQL')];
    const who = await Promise.race(ended.filter(Boolean));
    throw new Complaint(`${who} ended by itself; the log is ${who === 'PostgreSQL' ? database.logFile : 'above'}.`);
}

// Variables of the environment win over the file's.
function readEnvFile() {
    const file = join(PROJECT, '.env');
    if (existsSync(file)) process.loadEnvFile(file);
}

async function openDatabase(fresh) {
    const url = process.env.DATABASE_URL;
    if (url) {
        if (fresh) throw new Complaint('--fresh empties the embedded database only, and DATABASE_URL is set.');
        await checkDatabaseUrl(url);
        console.log('Using the database of DATABASE_URL.');
        return { url };
    }
    const database = await startKeptPostgres({ fresh });
    const elsewhere = database.home.startsWith(PROJECT) ? '' : ' (its account cannot enter this folder)';
    console.log(`PostgreSQL runs; its data is kept in ${database.home}${elsewhere}`);
    return database;
}
