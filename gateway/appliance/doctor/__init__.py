"""Where the road between appliance and console is examined, step by step."""
