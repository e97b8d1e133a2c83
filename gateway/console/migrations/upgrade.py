"""This file is how the migrations are run: by the console, at start, in one transaction."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData


def config(connection: Connection, schema: MetaData) -> Config:
    """Return Alembic's configuration for an open connection and the tables wanted; there is no ini file."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    settings.attributes["connection"] = connection
    settings.attributes["schema"] = schema
    return settings


def to_head(connection: Connection, schema: MetaData) -> None:
    """Bring the tables to this program's version; does nothing when they are."""
    command.upgrade(config(connection, schema), "head")
