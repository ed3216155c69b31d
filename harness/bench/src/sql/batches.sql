-- How many reservations each statement made: the ledger rows that one transaction wrote carry its number (`xmin`), so
-- this needs no word from the service, and no clock.
--
-- Parameters: item_ids uuid[].

with request as materialized (
    select $1::uuid[] as item_ids
),

batches as materialized (
    select count(*) as size
    from request
    join stockhold.ledger on ledger.item_id = any (request.item_ids)
    where ledger.kind = 'RESERVED'
    group by ledger.xmin::text, ledger.item_id
)

select size, count(*) as count
from batches
group by size
order by size
