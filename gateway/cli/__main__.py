"""This file is `python -m gateway.cli`, the same as `pcg`."""

from gateway.cli.main import main

main()
