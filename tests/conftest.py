"""This file is what every test can use."""
