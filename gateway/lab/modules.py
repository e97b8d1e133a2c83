"""This file is the machines' /lib/modules: what this kernel has built in, told in the way modprobe asks.

A kernel without modules has no /lib/modules, and `modprobe overlay` fails though overlay works. The tree made
here lists as built in what is really there, and only that: `modprobe` says yes to it and no to anything else.
"""

import gzip
import platform
from pathlib import Path

from gateway.lab import programs

KNOWN = {
    "BRIDGE": "net/bridge/bridge", "BRIDGE_NETFILTER": "net/bridge/br_netfilter", "OVERLAY_FS": "fs/overlayfs/overlay",
    "NF_CONNTRACK": "net/netfilter/nf_conntrack", "NF_NAT": "net/netfilter/nf_nat",
    "NF_TABLES": "net/netfilter/nf_tables", "NFT_COMPAT": "net/netfilter/nft_compat",
    "NETFILTER_XTABLES": "net/netfilter/x_tables", "IP_SET": "net/netfilter/ipset/ip_set",
    "IP_VS": "net/netfilter/ipvs/ip_vs", "IP_VS_RR": "net/netfilter/ipvs/ip_vs_rr",
    "IP_VS_WRR": "net/netfilter/ipvs/ip_vs_wrr", "IP_VS_SH": "net/netfilter/ipvs/ip_vs_sh",
    "IP_NF_IPTABLES": "net/ipv4/netfilter/ip_tables", "IP_NF_NAT": "net/ipv4/netfilter/iptable_nat",
    "IP_NF_FILTER": "net/ipv4/netfilter/iptable_filter", "IP6_NF_IPTABLES": "net/ipv6/netfilter/ip6_tables",
    "VXLAN": "drivers/net/vxlan/vxlan", "VETH": "drivers/net/veth", "TUN": "drivers/net/tun",
    "DUMMY": "drivers/net/dummy", "IPIP": "net/ipv4/ipip", "WIREGUARD": "drivers/net/wireguard/wireguard",
    "GENEVE": "drivers/net/geneve", "BLK_DEV_DM": "drivers/md/dm-mod", "NBD": "drivers/block/nbd",
    "NFS_FS": "fs/nfs/nfs", "XFS_FS": "fs/xfs/xfs", "EXT4_FS": "fs/ext4/ext4", "CONFIGFS_FS": "fs/configfs/configfs",
}  # fmt: skip
"""Kernel options and the module each would be, for what Kubernetes, its networks and storage ask for."""

SIGNS = {"overlay": "/sys/module/overlay", "br_netfilter": "/proc/sys/net/bridge", "bridge": "/sys/module/bridge"}
"""How to tell without the kernel's configuration."""


def make_tree(target: Path) -> Path:
    """Write `target`/<kernel release>/ and return `target`; it is to be mounted as /lib/modules."""
    release = platform.release()
    host = Path("/lib/modules") / release
    if (host / "modules.dep").exists():
        return host.parent
    place = target / "lib/modules" / release
    place.mkdir(parents=True, exist_ok=True)
    built_in = "".join(f"kernel/{path}.ko\n" for path in _built_in())
    (place / "modules.builtin").write_text(built_in, encoding="ascii")
    (place / "modules.order").write_text("", encoding="ascii")
    programs.run(["depmod", "--basedir", target, release])
    return place.parent


def _built_in() -> list[str]:
    config = Path("/proc/config.gz")
    if config.exists():
        chosen = set(gzip.decompress(config.read_bytes()).decode("ascii", "replace").splitlines())
        return [path for option, path in KNOWN.items() if f"CONFIG_{option}=y" in chosen]
    return [path for path in KNOWN.values() if Path(SIGNS.get(path.rpartition("/")[2], "/nowhere")).exists()]
