"""This file is the site's policy on the appliance: read, judged by, kept count for, enforced."""
