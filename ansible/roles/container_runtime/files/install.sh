# $1: as in needed.sh, which stands before this; $2: containerd's configuration
cache=/var/cache/pcg/container_runtime
config=/etc/containerd/config.toml
restart=
wanted=$(printf "%s" "$2") # without the newline at its end, as $(cat …) is

# First the configuration, so that the service starts with it at once.
if [ "$wanted" != "$(cat "$config" 2> /dev/null)" ]; then
  mkdir -p /etc/containerd/certs.d
  echo "$wanted" > "$config.pcg-new"
  mv -f "$config.pcg-new" "$config"
  echo "changed $config"
  restart=yes
fi

# dpkg and apt hold locks while a template's own timers are at work; an interrupted run may have left dpkg half-way.
patiently() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || return 1
    sleep 5
  done
}

if ! installed "$1"; then
  cd "$cache"
  echo "$1" | sha256sum --check --strict --quiet
  export DEBIAN_FRONTEND=noninteractive
  patiently dpkg --configure -a --force-confold
  apt-get install --yes --no-install-recommends --allow-downgrades --allow-change-held-packages \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 \
    $(echo "$1" | sed "s,^[0-9a-f]* [ *],$cache/,") > apt.log 2>&1 || { tail -n 5 apt.log >&2; exit 1; }
  mkdir -p "$(dirname "$kept")"
  echo "$1" > "$kept"
  rm -rf "$cache"
  cd /
  echo "changed packages"
  restart=
fi

if ! systemctl is-enabled --quiet containerd.service; then
  systemctl enable --quiet containerd.service
  echo "changed containerd.service"
fi
if [ -n "$restart" ]; then
  systemctl restart containerd.service
elif ! systemctl is-active --quiet containerd.service; then
  systemctl start containerd.service
  echo "changed containerd.service"
fi

tries=0
until ctr version > /dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { echo "containerd does not answer: see journalctl -u containerd there" >&2; exit 1; }
  sleep 0.5
done
