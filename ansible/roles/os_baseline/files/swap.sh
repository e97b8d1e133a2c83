if [ "$(wc -l < /proc/swaps)" -gt 1 ]; then
  swapoff -a
  echo "changed swap"
fi

if [ -e /etc/fstab ]; then
  sed -E 's/^([^#[:space:]][^[:space:]]*[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]].*)$/# by pcg: \1/' \
    /etc/fstab | put /etc/fstab
fi

# Swap partitions found by systemd and zram devices start with this target; zram-tools brings a service of its own.
reload=
for unit in swap.target zramswap.service; do
  if [ "$(readlink "/etc/systemd/system/$unit")" != /dev/null ]; then
    ln -sfn /dev/null "/etc/systemd/system/$unit"
    echo "changed $unit"
    reload=yes
  fi
done
[ -z "$reload" ] || systemctl daemon-reload
