"""The store: tables, migrations, the ledger of deliveries, bulk loading and queries, on SQLite and PostgreSQL."""
