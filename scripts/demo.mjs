// `npm run demo`: what the service does, told in the terminal at a pace that can be recorded, with the rows in the
// database after each step. It checks what it tells. `-- --fast` leaves out the pauses, as does an output to no terminal.

import { setTimeout as sleep } from 'node:timers/promises';
import { styleText } from 'node:util';

import { build, checkToolchain } from './helpers/cargo.mjs';
import { Complaint } from './helpers/complaint.mjs';
import { query } from './helpers/database.mjs';
import { freePort } from './helpers/ports.mjs';
import { startThrowAwayPostgres } from './helpers/postgres.mjs';
import { startServe, withoutKeys } from './helpers/serve.mjs';

const WIDTH = 96;

export async function main(args) {
    const unknown = args.find((arg) => arg !== '--fast');
    if (unknown) throw new Complaint(`\`npm run demo\` does not know "${unknown}"; it knows --fast.`);
    checkToolchain();
    const { serve: program } = await build(['serve']);
    const database = await startThrowAwayPostgres();
    const service = await startServe({
        program,
        port: await freePort(),
        databaseUrl: database.url,
        env: withoutKeys(process.env),
        logName: 'demo',
    });
    await tell({ url: service.url, databaseUrl: database.url, fast: args.includes('--fast') || !process.stdout.isTTY });
    return 0;
}

async function tell({ url, databaseUrl, fast }) {
    const { chapter, say, call, expect, rows, pause } = narrator({ url, databaseUrl, fast });
    const shortTtl = fast ? 1 : 5;

    await chapter('The service is up');
    await call('GET', '/v1/health');
    await say(`Its documentation is at ${url}/docs, made from ${url}/openapi.json, which names these endpoints:`);
    await listEndpoints(url, expect);

    await chapter('An item with 5 units');
    let { body: item } = await call('POST', '/v1/items', { name: 'Walnut desk', initial_quantity: 5 }, 201);
    expect('available units', item.available_quantity, 5);
    const itemPath = `/v1/items/${item.id}`;
    const availability = async (available) => {
        ({ body: item } = await call('GET', itemPath));
        expect('available units', item.available_quantity, available);
    };
    const hold = async (customer_id, quantity, ttl_seconds) => {
        const { body } = await call(
            'POST',
            '/v1/reservations',
            { item_id: item.id, customer_id, quantity, ttl_seconds },
            201,
        );
        expect('status', body.status, 'PENDING');
        return { ...body, path: `/v1/reservations/${body.id}` };
    };
    await rows(item.id);

    await chapter('Ada holds 2: availability goes down');
    const ada = await hold('ada', 2, 600);
    await availability(3);
    await rows(item.id);

    await chapter('Ada cancels: availability comes back');
    const { body: cancelled } = await call('POST', `${ada.path}/cancel`);
    expect('status', cancelled.status, 'CANCELLED');
    await availability(5);
    await rows(item.id);

    await chapter(`Ben holds 3 for ${shortTtl} s, and does nothing`);
    const ben = await hold('ben', 3, shortTtl);
    await availability(2);
    await rows(item.id);
    await say('The deadline passes. Nobody sweeps, and yet the units count as available at once:');
    await passed(ben.expires_at);
    await availability(5);
    const { body: lapsed } = await call('GET', ben.path);
    expect('status', lapsed.status, 'EXPIRED');
    await say('In the rows the expiry is not written down yet:');
    await rows(item.id);

    await chapter('The sweep writes the expiry down');
    const { body: sweep } = await call('POST', '/v1/maintenance/expire-reservations');
    expect('expired reservations', sweep.expired_count, 1);
    expect('released units', sweep.released_quantity, 3);
    await rows(item.id);
    await say('Ben comes too late:');
    const { body: late } = await call('POST', `${ben.path}/confirm`, undefined, 409);
    expect('code', late.code, 'reservation_expired');
    await pause(2);

    await chapter('Cleo holds 2 and confirms: the units are sold');
    const cleo = await hold('cleo', 2, 600);
    const { body: confirmed } = await call('POST', `${cleo.path}/confirm`);
    expect('status', confirmed.status, 'CONFIRMED');
    await say('Sent again, the same request gets the same answer, and nothing is deducted twice:');
    const { body: repeated } = await call('POST', `${cleo.path}/confirm`);
    expect('the answer', JSON.stringify(repeated), JSON.stringify(confirmed));
    await availability(3);
    expect('confirmed units', item.confirmed_quantity, 2);
    await rows(item.id);

    await chapter('Dan asks for 4 of the 3 that are left: refused');
    const order = { item_id: item.id, customer_id: 'dan', quantity: 4 };
    const { body: refusal } = await call('POST', '/v1/reservations', order, 409);
    expect('code', refusal.code, 'insufficient_availability');
    expect('available units', refusal.available_quantity, 3);
    await availability(3);
    await rows(item.id);

    await chapter('The audit: counters, rows and ledger agree');
    const { body: audit } = await call('GET', `${itemPath}/audit`);
    expect('consistent', audit.consistent, true);
    await say('Five units: two sold, three free, none sold twice.');
}

async function listEndpoints(url, expect) {
    const { paths } = await (await fetch(`${url}/openapi.json`)).json();
    const endpoints = Object.entries(paths).flatMap(([path, operations]) =>
        Object.entries(operations)
            .filter(([method]) => ['get', 'post'].includes(method))
            .map(([method, { summary }]) => [method.toUpperCase(), path, summary ?? '']),
    );
    console.log(`${table(['method', 'path', 'does'], endpoints)}\n`);
    const documented = endpoints.map(([method, path]) => `${method} ${path.replace(/\{\w+\}/, ':id')}`);
    for (const endpoint of [
        'POST /v1/items',
        'GET /v1/items/:id',
        'POST /v1/reservations',
        'POST /v1/reservations/:id/confirm',
        'POST /v1/reservations/:id/cancel',
        'POST /v1/maintenance/expire-reservations',
    ]) {
        expect(`${endpoint} is documented`, documented.includes(endpoint), true);
    }
}

async function passed(deadline) {
    for (;;) {
        const left = Date.parse(deadline) - Date.now();
        if (left < 0) break;
        if (process.stdout.isTTY) process.stdout.write(`\r  ${Math.ceil(left / 1000)} s left …  `);
        await sleep(Math.min(left + 20, 250));
    }
    if (process.stdout.isTTY) process.stdout.write('\r                \r');
}

function narrator({ url, databaseUrl, fast }) {
    const colourful = process.stdout.isTTY && !process.env.NO_COLOR;
    const paint = (style, text) => (colourful ? styleText(style, text) : text);
    const pause = (seconds) => (fast ? undefined : sleep(seconds * 1000));
    const shown = new Set();
    let number = 0;

    return {
        pause,
        async chapter(title) {
            number += 1;
            console.log(`\n${paint('bold', `${number}. ${title}`)}\n`);
            await pause(1.5);
        },
        async say(text) {
            console.log(`${text}\n`);
            await pause(1.5);
        },
        async call(method, path, body, expectedStatus = 200) {
            const json = JSON.stringify(body);
            const post = method === 'POST' ? ' -X POST' : '';
            const data = body ? ` \\\n      -H 'content-type: application/json' \\\n      -d '${json}'` : '';
            console.log(paint('cyan', `  $ curl${post} ${url}${path}${data}`));
            await pause(1);
            const response = await fetch(url + path, {
                method,
                headers: body ? { 'content-type': 'application/json' } : {},
                body: json,
            });
            const answer = await response.json();
            console.log(paint(response.ok ? 'green' : 'yellow', `  ${response.status} ${response.statusText}`));
            console.log(`${wrapped(answer)}\n`);
            if (response.status !== expectedStatus) {
                throw new Complaint(
                    `${method} ${path} should have answered ${expectedStatus}, and answered ${response.status}.`,
                );
            }
            await pause(1.5);
            return { status: response.status, body: answer };
        },
        expect(what, actual, expected) {
            if (actual !== expected) throw new Complaint(`${what}: ${actual}, and should be ${expected}.`);
        },
        // What changed since it was shown last stands out.
        async rows(itemId) {
            for (const [name, text] of Object.entries(ROWS)) {
                const result = await query(databaseUrl, text, [itemId]);
                if (result.length === 0) continue;
                console.log(paint('dim', `  stockhold.${name}`));
                for (const line of table(Object.keys(result[0]), result.map(Object.values)).split('\n')) {
                    const key = name + line.replace(/[ ─]+/g, ' ');
                    console.log(shown.has(key) ? line : paint('bold', line));
                    shown.add(key);
                }
                console.log();
            }
            await pause(3);
        },
    };
}

// The last digits of an id tell the rows of a demo apart; the first ones are the time.
const ROWS = {
    items: `
        select '…' || substr(id::text, 29, 4) as id, name, total_quantity as total, held_quantity as held,
            confirmed_quantity as confirmed, version
        from stockhold.items
        where id = $1`,
    reservations: `
        select '…' || substr(id::text, 29, 4) as id, customer_id as customer, quantity, status,
            to_char(expires_at, 'HH24:MI:SS.MS') as expires_at
        from stockhold.reservations
        where item_id = $1
        order by created_at, id`,
    ledger: `
        select version, kind, coalesce('…' || substr(reservation_id::text, 29, 4), '') as reservation, quantity,
            total_quantity as total, held_quantity as held, confirmed_quantity as confirmed,
            to_char(recorded_at, 'HH24:MI:SS.MS') as recorded_at
        from stockhold.ledger
        where item_id = $1
        order by version`,
};

function table(columns, lines) {
    const all = [columns, ...lines].map((line) => line.map(String));
    const widths = columns.map((_, index) => Math.max(...all.map((line) => line[index].length)));
    const [head, ...rest] = all.map(
        (line) => `  │ ${line.map((cell, index) => cell.padEnd(widths[index])).join(' │ ')} │`,
    );
    const rule = `  ├${widths.map((width) => '─'.repeat(width + 2)).join('┼')}┤`;
    return [head, rule, ...rest].join('\n');
}

// A JSON object over as few lines as fit.
function wrapped(object) {
    const lines = ['  {'];
    const fields = Object.entries(object).map(([key, value]) => `"${key}": ${JSON.stringify(value)}`);
    fields.forEach((field, index) => {
        const piece = field + (index < fields.length - 1 ? ',' : ' }');
        const last = lines[lines.length - 1];
        if (last.length + 1 + piece.length <= WIDTH) lines[lines.length - 1] = `${last} ${piece}`;
        else lines.push(`    ${piece}`);
    });
    return lines.join('\n');
}
