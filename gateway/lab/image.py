"""This file is the machines' file system: Debian 12 with systemd, sshd and cloud-init, and the packages it lacks.

One run of mmdebstrap makes both: the image, and the *artifacts*, which are the packages (container runtime
and what it depends on) that a machine gets later, over SSH, because it has no way to the internet.

    <cache>/images/debian-12-<key>/rootfs/          lower layer of every machine's disk
    <cache>/images/debian-12-<key>/artifacts/*.deb  and SHA256SUMS
    <cache>/artifacts/debian-12-<key>               a link to the latter
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.lab import apt, cache, programs

NAME = "debian-12"
SUITE = "bookworm"
RECIPE_VERSION = b"1"
BUILD_LIMIT = 1800.0

PACKAGES = (
    "systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,cloud-init,python3,sudo,iproute2,iptables,nftables,kmod,"
    "procps,netbase,ca-certificates,systemd-timesyncd,apt,iputils-ping,less,conntrack,ethtool,socat,ebtables"
)
"""What a machine has from the start: an ordinary cloud image, and the tools kubeadm asks for."""

ARTIFACTS = ("containerd", "runc")
"""What a machine is given later."""

LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/lintian/*")

MASKED = (
    # no devices to find in a container, and with /sys read-only networkd does not wait for udev either
    "systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service "
    "cloud-init-hotplugd.socket systemd-pstore.service systemd-binfmt.service "
    # chores of a machine that lives long
    "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer "
    # nobody sits at the console
    "console-getty.service getty.target remote-fs.target "
    # kernel file systems that machines would share with the host
    "sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount"
)
ENABLED = "systemd-networkd.service lab-machine.service"


@dataclass(frozen=True, slots=True)
class Image:
    """A built image."""

    name: str
    rootfs: Path
    artifacts: Path


def prepare(cache_directory: Path, *, say: Callable[[str], None]) -> Image:
    """Return the image, building it first (about a minute, network needed) when the cache has none."""
    sources = apt.sources_for(SUITE)
    key = cache.key_of(
        RECIPE_VERSION, PACKAGES.encode(), " ".join(ARTIFACTS).encode(), " ".join(LEFT_OUT).encode(),
        MASKED.encode(), ENABLED.encode(), cache.tree_bytes(_overlay()),
    )  # fmt: skip
    place = cache_directory / "images" / f"{NAME}-{key}"

    def build(target: Path) -> None:
        say(f"building the {NAME} image, once (about a minute)")
        _bootstrap(target, sources)
        _finish(target / "rootfs")
        _sum_up(target / "artifacts")

    cache.once(place, build)
    link = cache_directory / "artifacts" / place.name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(place / "artifacts")
    return Image(NAME, place / "rootfs", link)


def _overlay() -> Path:
    """Files that are laid over the bootstrapped system, as they are."""
    return Path(__file__).parent / "image"


def _bootstrap(target: Path, sources: apt.Sources) -> None:
    (target / "artifacts").mkdir()
    listed = target / f"archive{sources.suffix}"
    listed.write_text(sources.text, encoding="utf-8")
    options = [f"--aptopt={option}" for option in (*apt.network_options(), 'APT::Install-Recommends "false"')]
    options += [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
    options += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    programs.run(
        [
            "mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--quiet", f"--include={PACKAGES}",
            *options,
            '--customize-hook=find "$1/var/cache/apt/archives" -name "*.deb" -delete',
            "--customize-hook=APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get install --yes --download-only "
            + " ".join(ARTIFACTS),
            f'--customize-hook=cp "$1"/var/cache/apt/archives/*.deb {target}/artifacts/',
            SUITE, target / "rootfs", listed,
        ],
        limit=BUILD_LIMIT,
    )  # fmt: skip
    listed.unlink()


def _finish(root: Path) -> None:
    """Make of the bootstrapped system a template: nothing in it says who it is."""
    shutil.copytree(_overlay(), root, dirs_exist_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("", encoding="ascii")
    for left in (*(root / "etc/apt/sources.list.d").iterdir(), root / "etc/hostname", root / "var/lib/dbus/machine-id"):
        left.unlink(missing_ok=True)
    programs.run(["systemctl", f"--root={root}", "--quiet", "mask", *MASKED.split()])
    programs.run(["systemctl", f"--root={root}", "--quiet", "enable", *ENABLED.split()])


def _sum_up(artifacts: Path) -> None:
    lines = [f"{hashlib.sha256(deb.read_bytes()).hexdigest()}  {deb.name}\n" for deb in sorted(artifacts.glob("*.deb"))]
    (artifacts / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
