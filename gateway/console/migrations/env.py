"""This file is what Alembic runs to reach the database: the connection that the console has opened."""

from alembic import context


def run() -> None:
    """Run the migrations in the caller's transaction, so that a cut leaves the tables as they were."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=context.config.attributes["schema"],
        transactional_ddl=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
