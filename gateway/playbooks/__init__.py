"""The port to Ansible: runs playbooks so that nothing outlives them."""
