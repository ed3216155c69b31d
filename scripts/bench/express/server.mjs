// The service most people would write: Express, node-postgres, a transaction for each request, the item's row locked
// from its `select … for update` to the `commit`. The benchmark compares with it, on the same database. `pg` is the
// project's own.

import { createServer } from 'node:http';

import express from 'express';
import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const app = express();
app.disable('x-powered-by');
app.use(express.json());

app.get('/health', async (request, response) => {
    await pool.query('select 1');
    response.json({ status: 'ok' });
});

app.post('/reservations', async (request, response) => {
    const { item_id, customer_id, quantity, ttl_seconds } = request.body;
    const client = await pool.connect();
    try {
        await client.query('begin');
        const { rows } = await client.query(
            'select total - held - confirmed as available from stockhold_bench.items where id = $1 for update',
            [item_id],
        );
        const refusal = rows.length === 0 ? [404, 'item_not_found'] : null;
        if (refusal || Number(rows[0].available) < quantity) {
            await client.query('rollback');
            const [status, code] = refusal ?? [409, 'insufficient_availability'];
            response.status(status).json({ code });
            return;
        }
        await client.query('update stockhold_bench.items set held = held + $2 where id = $1', [item_id, quantity]);
        const inserted = await client.query(
            `insert into stockhold_bench.reservations (item_id, customer_id, quantity, expires_at)
             values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
             returning *`,
            [item_id, customer_id, quantity, ttl_seconds],
        );
        await client.query('commit');
        response.status(201).json(inserted.rows[0]);
    } catch (error) {
        await client.query('rollback').catch(() => {});
        throw error;
    } finally {
        client.release();
    }
});

createServer(app).listen(Number(process.env.PORT), '127.0.0.1');
