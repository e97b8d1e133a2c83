"""This file is a world in which one seed is one run: power cuts, bad networks, failing disks, promises that hold."""
