# $@: time servers; none leaves those of the template
has() { systemctl cat "$1" > /dev/null 2>&1; }

# A container's clock is its host's; nothing in it may set it.
! systemd-detect-virt --quiet --container || exit 0

if has chrony.service; then
  service=chrony.service
  file=/etc/chrony/sources.d/pcg.sources
  ours=$(for server; do echo "server $server iburst"; done)
elif has systemd-timesyncd.service; then
  service=systemd-timesyncd.service
  file=/etc/systemd/timesyncd.conf.d/50-pcg.conf
  ours=$(printf '[Time]\nNTP=%s' "$*")
else
  exit 0 # what was found is published; another way, such as the hypervisor's tools, may keep the clock
fi

if [ $# -gt 0 ]; then did=$(echo "$ours" | put "$file"); else did=$(drop "$file"); fi
if ! systemctl is-enabled --quiet "$service"; then
  systemctl enable --quiet "$service"
  did="$did changed $service"
fi
if [ -n "$did" ]; then
  systemctl restart "$service"
  echo "$did"
elif ! systemctl is-active --quiet "$service"; then
  systemctl start "$service"
  echo "changed $service"
fi
