"""This file is how a VM's guestinfo reaches cloud-init: as an environment file for its units.

cloud-init's VMware data source can read guestinfo from environment variables (`VMX_GUESTINFO*`). The file is
handed to the machine on a private mount, because variables on a command line are there for all to see.
"""

import base64
from collections.abc import Mapping

PARTS = ("metadata", "userdata", "vendordata")


def environment_file(extra_config: Mapping[str, str]) -> str:
    """Return the text of a systemd EnvironmentFile from a VM's extraConfig.

    Values written with `.encoding` base64 or gzip+base64 travel as they are; plain ones are encoded here,
    since YAML has line breaks and quotes that such a file would need escaped.
    """
    lines = ["VMX_GUESTINFO=1"]
    for part in PARTS:
        value = extra_config.get(f"guestinfo.{part}", "")
        if not value:
            continue
        encoding = extra_config.get(f"guestinfo.{part}.encoding", "")
        if encoding in {"", "plain", "none"}:
            value, encoding = base64.b64encode(value.encode()).decode(), "base64"
        lines.append(f"VMX_GUESTINFO_{part.upper()}={''.join(value.split())}")
        lines.append(f"VMX_GUESTINFO_{part.upper()}_ENCODING={encoding}")
    return "\n".join(lines) + "\n"
