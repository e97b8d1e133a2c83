"""The pcg command."""
