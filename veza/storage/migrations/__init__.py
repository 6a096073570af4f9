"""The steps from an empty database to the tables of today, applied in order by `veza.storage.migrate`."""
