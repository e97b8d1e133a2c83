"""The program outside: tenants, clusters, the certificate authority and the tunnel's far end."""
