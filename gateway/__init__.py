"""The private cloud gateway: clusters on a vSphere that nobody outside can dial into."""

__version__ = "0.1.0"
