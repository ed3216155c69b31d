-- Ask whether the schema is there, and which version of it.
--
-- Parameters: none.
-- Locks:      none.
-- Recheck:    none.
-- Outcomes:   one row; it fails with undefined_table where no migration was applied.

with applied_migration as materialized (
    select max(version) as version
    from stockhold.migrations
)

select version as migration_version
from applied_migration
