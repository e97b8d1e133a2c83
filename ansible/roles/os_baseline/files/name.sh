# $1: the machine's name
if [ "$(hostname)" != "$1" ]; then
  hostname "$1"
  echo "changed hostname"
fi
echo "$1" | put /etc/hostname

# The name must resolve without a name server; 127.0.1.1 is where Debian keeps it.
{
  grep -Eq '^127\.0\.0\.1[[:space:]]+localhost' /etc/hosts || echo "127.0.0.1 localhost"
  grep -Ev '^127\.0\.1\.1[[:space:]]' /etc/hosts || true
  echo "127.0.1.1 $1"
} | put /etc/hosts
