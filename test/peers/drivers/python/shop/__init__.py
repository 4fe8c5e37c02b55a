"""The shop as a Django application: models of tables that exist, and their admin."""
