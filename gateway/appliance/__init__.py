"""The program that runs inside the data centre and carries commands out there."""
