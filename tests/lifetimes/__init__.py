"""This package is years in the lives of many appliances, lived through in minutes."""
