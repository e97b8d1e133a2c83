"""The port to a virtualisation platform, and its adapters."""
