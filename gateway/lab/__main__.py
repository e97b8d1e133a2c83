"""This file is `python -m gateway.lab`, the lab's commands without the rest of the command line."""

import sys

from gateway.kit.errors import GatewayError
from gateway.lab.commands import app

if __name__ == "__main__":
    try:
        app()
    except GatewayError as fault:
        sys.exit(f"{fault.code}: {fault.message}")
