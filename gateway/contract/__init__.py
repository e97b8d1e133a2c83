"""What crosses a wire: every model that two programs must agree on."""
