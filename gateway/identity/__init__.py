"""Who is who: registration tokens, keys, certificates and the authority that signs them."""
