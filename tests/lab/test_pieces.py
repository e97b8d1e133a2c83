"""This file is what the lab's parts promise that need no lab: sources, caches, guestinfo, prerequisites."""

import base64
import os
import threading
from pathlib import Path

import pytest

from gateway.lab import apt, cache, guestinfo, prerequisites

STANZAS = """\
# what the installer wrote
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://vendor.example/docker
Suites: bookworm
Components: stable

Types: deb
URIs: http://mirror.example/debian
Suites: trixie
Components: main
"""


def etc(directory: Path, **files: str) -> Path:
    (directory / "sources.list.d").mkdir()
    for name, text in files.items():
        (directory / "sources.list.d" / name.replace("_", ".")).write_text(text)
    return directory


def test_only_debians_own_archives_of_the_suite_are_used(tmp_path: Path) -> None:
    sources = apt.sources_for("bookworm", etc(tmp_path, debian_sources=STANZAS))
    assert sources.suffix == ".sources"
    assert sources.text.count("Types: deb") == 1
    assert "#" not in sources.text


def test_one_line_sources_are_understood(tmp_path: Path) -> None:
    lines = "deb [arch=amd64] http://mirror.example/debian bookworm main\ndeb http://x.example/docker bookworm stable\n"
    sources = apt.sources_for("bookworm", etc(tmp_path, debian_list=lines))
    assert sources == apt.Sources("deb [arch=amd64] http://mirror.example/debian bookworm main\n", ".list")


def test_a_machine_without_debian_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(apt.NoPackageSourceError, match="bookworm"):
        apt.sources_for("bookworm", etc(tmp_path))


def test_what_two_want_at_once_is_built_once(tmp_path: Path) -> None:
    builds: list[Path] = []

    def build(target: Path) -> None:
        builds.append(target)
        (target / "made").write_text("whole")

    threads = [threading.Thread(target=cache.once, args=(tmp_path / "thing", build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert (tmp_path / "thing" / "made").read_text() == "whole"


def test_a_build_that_fails_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    def fail(target: Path) -> None:
        (target / "half").write_text("")
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        cache.once(tmp_path / "thing", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]
    assert cache.once(tmp_path / "thing", lambda target: (target / "whole").touch()).is_dir()


def test_guestinfo_travels_encoded_and_without_line_breaks() -> None:
    packed = base64.b64encode(b"#cloud-config\n").decode()
    text = guestinfo.environment_file(
        {
            "guestinfo.metadata": "instance-id: a\nlocal-hostname: b\n",
            "guestinfo.userdata": packed + "\n",
            "guestinfo.userdata.encoding": "gzip+base64",
            "guestinfo.secret": "not for cloud-init",
        }
    )
    plain = base64.b64encode(b"instance-id: a\nlocal-hostname: b\n").decode()
    assert text.splitlines() == [
        "VMX_GUESTINFO=1",
        f"VMX_GUESTINFO_METADATA={plain}",
        "VMX_GUESTINFO_METADATA_ENCODING=base64",
        f"VMX_GUESTINFO_USERDATA={packed}",
        "VMX_GUESTINFO_USERDATA_ENCODING=gzip+base64",
    ]


def test_a_missing_program_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(prerequisites.PrerequisiteMissingError, match="apt-get install --yes dnsmasq-base") as missing:
        prerequisites.check()
    assert missing.value.code == "lab.prerequisite_missing"
    assert set(str(missing.value.facts["packages"]).split()) == set(prerequisites.PACKAGES)


def test_a_lab_asks_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(prerequisites.PrerequisiteMissingError, match="sudo"):
        prerequisites.check()
