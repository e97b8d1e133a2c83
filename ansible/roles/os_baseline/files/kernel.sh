put /etc/modules-load.d/50-pcg.conf <<'END'
overlay
br_netfilter
END

# There when loaded, and also when it is built in, for then nothing lists it.
there() {
  case $1 in
    overlay) grep -qw overlay /proc/filesystems ;;
    br_netfilter) [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] ;;
  esac
}
for module in overlay br_netfilter; do
  there "$module" && continue
  modprobe "$module" 2> /dev/null || true
  there "$module" || fail "this kernel ($(uname -r)) has no $module: use a template whose kernel has it"
  echo "changed $module"
done

put /etc/sysctl.d/zz-pcg.conf <<'END'
net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
net.ipv4.ip_forward = 1
vm.overcommit_memory = 1
vm.panic_on_oom = 0
kernel.panic = 10
kernel.panic_on_oops = 1
fs.inotify.max_user_instances = 8192
fs.inotify.max_user_watches = 524288
END

while read -r key _ value; do
  path=/proc/sys/$(echo "$key" | tr . /)
  [ "$(cat "$path")" != "$value" ] || continue
  # Read-only means that this kernel is shared (a container) and the parameter is its owner's to set.
  [ -w "$path" ] || continue
  echo "$value" > "$path" || fail "the kernel refuses $key = $value"
  echo "changed $key"
done < /etc/sysctl.d/zz-pcg.conf
