"""The vSphere adapter: the only part of the product that knows pyVmomi."""
