# Run over SSH as our own user, by whatever shell it has; plain sh. The last line printed names the system.
set -eu
fail() { echo "$*" >&2; exit 1; }

# What keeps runs apart: all that a run starts here lives in its SSH session's scope and is killed with it.
own=$(sed -n 's,.*/session-\([^/]*\)\.scope$,\1,p' /proc/self/cgroup | head -n 1)
[ -n "$own" ] || fail "an SSH session here is no session of systemd-logind: install libpam-systemd in the template"

kills() {
  busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager KillUserProcesses
}
[ "$(kills)" = "b true" ] || sudo -n systemctl restart systemd-logind.service
[ "$(kills)" = "b true" ] || fail "systemd-logind does not end what sessions leave: set KillUserProcesses=yes for it"

# Fencing: a run whose connection died without a word may still be at work.
others() { loginctl list-sessions --no-legend | awk -v me="$(id -un)" -v own="$own" '$3 == me && $1 != own { print $1 }'; }
tries=0
while [ -n "$(others)" ]; do
  [ "$tries" -lt 20 ] || fail "an earlier session of our user on this machine does not end: reset the machine"
  for id in $(others); do sudo -n loginctl kill-session --signal=KILL "$id" 2>/dev/null || true; done
  tries=$((tries + 1))
  sleep 0.5
done

# cloud-init goes on for a while after SSH answers, and writes files that we write too.
if [ -e /run/cloud-init/enabled ]; then
  tries=0
  until [ -e /run/cloud-init/result.json ]; do
    [ "$tries" -lt 1200 ] || fail "cloud-init has not ended within ten minutes: see /var/log/cloud-init.log there"
    tries=$((tries + 1))
    sleep 0.5
  done
fi

. /etc/os-release
echo "$ID $VERSION_ID"
