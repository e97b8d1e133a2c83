"""This package is the audit log as everybody reads it: its lines and their chain, its signed roots, its exports."""
