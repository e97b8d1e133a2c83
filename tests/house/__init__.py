"""The house's rules, held by tests."""
