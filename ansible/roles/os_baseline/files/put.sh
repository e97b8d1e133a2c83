set -eu
umask 022

fail() {
  echo "$*" >&2
  exit 1
}

# put PATH [MODE]: make the file at PATH hold what is on standard input, whole or not at all; say so if it did not.
put() {
  mkdir -p "$(dirname "$1")"
  cat > "$1.pcg-new"
  chmod "${2:-0644}" "$1.pcg-new"
  if cmp -s "$1.pcg-new" "$1"; then
    rm -f "$1.pcg-new"
  else
    mv -f "$1.pcg-new" "$1"
    echo "changed $1"
  fi
}

# drop PATH: make sure there is no file at PATH; say so if there was.
drop() {
  if [ -e "$1" ] || [ -L "$1" ]; then
    rm -f "$1"
    echo "changed $1"
  fi
}
