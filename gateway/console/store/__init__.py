"""What the console remembers: one relational database, read and written within a tenant only."""
